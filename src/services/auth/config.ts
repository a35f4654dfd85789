import { hostname } from 'node:os'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { findDuration, parseDuration } from '../../lib/duration.ts'

const duration = z.string().refine((text) => findDuration(text) !== undefined, 'must be a duration such as 30m or 12h')

const clusterName = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/, 'must consist of letters, digits, dots and dashes')

/** The section `auth_service` of sallyport.yaml. */
export const authConfigSchema = z
  .strictObject({
    enabled: yesNoSchema.default(true).describe('Whether this process runs the Auth Service.'),
    listen_addr: z
      .string()
      .optional()
      .describe("Teleport's; accepted, without effect: the Auth Service is reached through the proxy's port, and has none of its own."),
    proxy_listener_mode: z.literal('multiplex').optional().describe("Teleport's; multiplex is what there is: everything on one port."),
    cluster_name: clusterName
      .optional()
      .describe('Name of the cluster. It is fixed at the first start and stands in every certificate; the host name unless told.'),
    secret_key_file: z
      .string()
      .refine(isAbsolute, 'must be an absolute path')
      .optional()
      .describe(
        'File with the key that seals secrets in the store; DATA/secret.key unless told. Every replica needs the same: mount or copy the file of the first.',
      ),
    api_tokens: z
      .strictObject({
        max_ttl: duration.default('8784h').describe('The longest life an API token may be given.'),
        default_ttl: duration.default('720h').describe('The life of an API token when none is asked for.'),
      })
      .prefault({})
      .describe('Limits of API tokens, the credential of programs that cannot keep a certificate.'),
    oauth: z
      .strictObject({
        session_ttl: duration
          .default('720h')
          .describe('How long an MCP client goes on without the person signing in again; max_session_ttl of a role makes it shorter.'),
        access_token_ttl: duration
          .refine((text) => (findDuration(text) ?? 0) >= 60_000 && (findDuration(text) ?? 0) <= 900_000, 'must be 1m to 15m')
          .default('10m')
          .describe('The life of an access token; clients renew theirs silently.'),
        dpop_nonces: z
          .enum(['offered', 'required'])
          .default('offered')
          .describe(
            'Proofs of clients whose tokens are bound to a key (DPoP): whether one without a nonce of the server is taken by its time, or sent back for a nonce.',
          ),
        loopback_documents: yesNoSchema
          .default(false)
          .describe('For development: whether what a client publishes of itself (its id is a URL) may come from this machine, too.'),
      })
      .prefault({})
      .describe('What MCP clients get when a person signs in for them.'),
    audit: z
      .strictObject({
        file: z.boolean().default(true).describe('Whether events are also written as JSON lines to DATA/audit/YYYY-MM-DD.jsonl.'),
        retention: duration
          .optional()
          .describe('Events older than this are removed from the store; without it all are kept. Files are never removed.'),
      })
      .prefault({})
      .describe('The audit log.'),
  })
  .describe('The Auth Service: certificate authorities, users, roles, locks and the audit log.')

export type AuthConfig = z.output<typeof authConfigSchema>

/** What the authorization server goes by. */
export function oauthLimits({ oauth }: AuthConfig): { accessTokenMs: number; sessionMs: number; requiresDpopNonce: boolean } {
  return {
    accessTokenMs: parseDuration(oauth.access_token_ttl),
    sessionMs: parseDuration(oauth.session_ttl),
    requiresDpopNonce: oauth.dpop_nonces === 'required',
  }
}

/** The host name where it can name a cluster, else `sallyport`. */
export function defaultClusterName(host: string = hostname()): string {
  return clusterName.safeParse(host).success ? host : 'sallyport'
}
