import type { z } from 'zod'
import type { Verb } from '../resources/role.ts'

/**
 * Who may call a route.
 * `public` – anybody, rate-limited; `authenticated` – any identity, the route shows or changes only the caller's own;
 * `{kind, verb}` – an identity whose roles allow that verb on that kind; `byKind` – the same with the kind named in the path.
 */
export type Access = 'public' | 'authenticated' | { kind: string; verb: Verb } | { byKind: Verb }

/** Path of the MCP endpoint at which the token of a request was presented. Believed of the proxy only. */
export const ENDPOINT_HEADER = 'sallyport-endpoint'
/** Thumbprint of the key (RFC 7638) or certificate that whoever presented it proved to hold (RFC 9449, RFC 8705). Believed of the proxy only. */
export const PROOF_HEADER = 'sallyport-proof'

/** One row of the contract between the Auth Service and everybody who calls it. */
export interface Route<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> {
  /** Also the name of the function that serves it. */
  name: string
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Members of the input named here as `:name` travel in the path; of a GET or DELETE the others travel in the query, else in the body. */
  path: string
  access: Access
  /** Also for the access token of an MCP client, which the proxy presents with the endpoint it was shown at; no other row takes one. */
  forMcpClients?: true
  summary: string
  input: I
  /** Of a route that streams: of each line. */
  output: O
  /** The answer is a stream of JSON texts, one a line, that goes on until either side ends it. */
  streams?: true
}

export type InputOf<R extends Route> = z.input<R['input']>
export type ParsedInputOf<R extends Route> = z.output<R['input']>
export type OutputOf<R extends Route> = z.output<R['output']>

export function route<I extends z.ZodType, O extends z.ZodType>(row: Route<I, O>): Route<I, O> {
  return row
}

export function streamingRoute<I extends z.ZodType, O extends z.ZodType>(
  row: Omit<Route<I, O>, 'streams'>,
): Route<I, O> & { streams: true } {
  return { ...row, streams: true }
}
