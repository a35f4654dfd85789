import type { z } from 'zod'
import type { InputOf, OutputOf, Route } from '../api/route.ts'
import { AppError, isCode } from '../lib/errors.ts'

export interface WireRequest {
  method: string
  /** Path with query. */
  path: string
  headers: Record<string, string>
  body: string | undefined
  /** Only within one process: on whose behalf the proxy calls, for limits and the audit log. */
  remoteAddress?: string
}

export interface WireAnswer {
  status: number
  body: string
}

/** Carries one call: over mTLS, over the Auth Service's local socket, or within the process. */
export type Carrier = (request: WireRequest) => Promise<WireAnswer>

/** Calls a route of the contract; errors of the far side come back as the `AppError` they were. */
export type ApiClient = <R extends Route>(route: R, input: InputOf<R>) => Promise<OutputOf<R>>

/** The calls of the contract over this carrier; an answer that is not the Auth Service's throws `unavailable`. */
export function createApiClient(carrier: Carrier): ApiClient {
  return async (route, input) => {
    const answer = await carrier(renderRequest(route, input))
    const body: unknown = parseBody(answer)
    if (answer.status >= 400) throw parseError(answer.status, body)
    return parseOutput(route, body)
  }
}

/** A call of a route as HTTP: what the path names stands in it, the rest in the query or the body. */
export function renderRequest(route: Route, input: unknown): WireRequest {
  const members: Record<string, unknown> = typeof input === 'object' && input !== null ? { ...input } : {}
  const rest = new Map(Object.entries(members).filter(([, value]) => value !== undefined))
  const path = route.path.replace(/:(\w+)/g, (_, name: string) => {
    const value = rest.get(name)
    rest.delete(name)
    return encodeURIComponent(String(value))
  })
  if (route.method === 'POST' || route.method === 'PUT') {
    return { method: route.method, path, headers: { 'content-type': 'application/json' }, body: JSON.stringify(Object.fromEntries(rest)) }
  }
  const query = new URLSearchParams([...rest].map(([name, value]) => [name, String(value)])).toString()
  return { method: route.method, path: query ? `${path}?${query}` : path, headers: {}, body: undefined }
}

/** @throws AppError unavailable when it is no JSON. */
export function parseBody(answer: WireAnswer): unknown {
  try {
    return JSON.parse(answer.body)
  } catch (cause) {
    throw new AppError('unavailable', `the answer (HTTP ${answer.status}) is not from a Sallyport Auth Service: check the address`, {
      cause,
    })
  }
}

/** The error that an answer of the Auth Service speaks of, as it was there. */
export function parseError(status: number, body: unknown): AppError {
  const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : undefined
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error))
    return new AppError('unavailable', `HTTP ${status} from the Auth Service`)
  const code = String(error.code)
  const details = 'details' in error && typeof error.details === 'object' && error.details !== null ? { ...error.details } : {}
  return new AppError(isCode(code) ? code : 'internal', String(error.message), { details })
}

function parseOutput<R extends Route>(route: R, body: unknown): OutputOf<R> {
  const output: z.ZodType<OutputOf<R>> = route.output as R['output'] & z.ZodType<OutputOf<R>> // the row's own schema
  const parsed = output.safeParse(body)
  if (!parsed.success)
    throw new AppError('unavailable', `unexpected answer of ${route.name}: is the cluster of another version?`, { cause: parsed.error })
  return parsed.data
}
