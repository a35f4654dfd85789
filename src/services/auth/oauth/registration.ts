import type { ClientMetadata } from 'oidc-provider'
import { z } from 'zod'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { isLoopbackHost } from '../../../lib/loopback.ts'
import { countOAuthRecords } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'
import { applicationTypeOf, saveClient } from './clients.ts'

/** Clients that registered themselves and are remembered at once. */
const MAX_CLIENTS = 20_000

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'
/** RFC 8693 section 2.1. */
export const EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
/** What a client that nobody vouches for may use. */
export const GRANT_TYPES: readonly string[] = ['authorization_code', 'refresh_token', DEVICE_GRANT, EXCHANGE_GRANT]

/** RFC 7591 section 2: members that are not known here are passed over, not refused. */
const requestSchema = z.object({
  redirect_uris: z.array(z.string().max(2000)).max(20).default([]),
  client_name: z.string().max(200).optional(),
  grant_types: z.array(z.string().max(100)).max(20).optional(),
})

/** RFC 7591 section 3.2.2. */
export class RegistrationRefusal extends AppError {
  readonly error: 'invalid_redirect_uri' | 'invalid_client_metadata'

  constructor(error: RegistrationRefusal['error'], message: string) {
    super('invalid_argument', message)
    this.error = error
  }
}

/**
 * Dynamic registration (RFC 7591) of a public client: nothing it says of itself is believed, and it gets no secret, whatever it asks for.
 * Throws RegistrationRefusal, or `resource_exhausted` when this address or all of them registered too many.
 */
export async function registerClient(context: AuthContext, body: unknown, remoteAddress: string): Promise<ClientMetadata> {
  try {
    await context.limits.countRegistration(remoteAddress)
    if ((await countOAuthRecords(context.db, 'Client', context.now())) >= MAX_CLIENTS)
      throw new AppError(
        'resource_exhausted',
        'too many clients are registered: try again tomorrow, or ask an administrator to register this one',
      )
    const metadata = parseRequest(context, body)
    await saveClient(context, metadata)
    await context.journal.record([
      buildEvent('oauth.client.register', { remote_addr: remoteAddress, success: true, ...clientFields(metadata) }, context.build),
    ])
    return metadata
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code !== 'internal')
      await context.journal.record([
        buildEvent('oauth.client.register', { remote_addr: remoteAddress, success: false, error: thrown.message }, context.build),
      ])
    throw thrown
  }
}

function parseRequest(context: AuthContext, body: unknown): ClientMetadata {
  const parsed = requestSchema.safeParse(body)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new RegistrationRefusal('invalid_client_metadata', `${issue?.path.join('.') ?? 'the body'}: ${issue?.message ?? 'is wrong'}`)
  }
  const { redirect_uris, client_name, grant_types } = parsed.data
  const granted = (grant_types ?? ['authorization_code', 'refresh_token']).filter((type) => GRANT_TYPES.includes(type))
  const usesBrowser = granted.includes('authorization_code')
  if (!usesBrowser && !granted.includes(DEVICE_GRANT))
    throw new RegistrationRefusal('invalid_client_metadata', `grant_types: one of authorization_code and ${DEVICE_GRANT} is needed`)
  if (usesBrowser && redirect_uris.length === 0)
    throw new RegistrationRefusal('invalid_redirect_uri', 'redirect_uris: at least one is needed')
  for (const uri of redirect_uris) checkRedirectUri(uri)
  const name = client_name?.trim()
  return {
    client_id: Buffer.from(context.random(16)).toString('base64url'),
    client_id_issued_at: Math.floor(context.now() / 1000),
    ...(name && { client_name: name }),
    redirect_uris,
    grant_types: granted,
    response_types: usesBrowser ? ['code'] : [],
    token_endpoint_auth_method: 'none',
    application_type: applicationTypeOf(redirect_uris),
  }
}

/** Schemes that a browser does not hand to an application of the person's. */
const NO_APPLICATION = new Set([
  'javascript:',
  'data:',
  'file:',
  'vbscript:',
  'blob:',
  'about:',
  'view-source:',
  'filesystem:',
  'ftp:',
  'ws:',
  'wss:',
  'mailto:',
  'tel:',
  'sms:',
  'chrome:',
  'ms-msdt:',
  'search-ms:',
])

/** An `https` page, this machine's own loopback, or the scheme of an application (RFC 8252 section 7). */
export function checkRedirectUri(uri: string): void {
  const url = /[\s\p{Cc}\\]/u.test(uri) ? null : URL.parse(uri)
  if (!url) throw new RegistrationRefusal('invalid_redirect_uri', `redirect_uris: ${JSON.stringify(uri.slice(0, 100))} is no URL`)
  const fault = redirectFault(url)
  if (fault !== undefined)
    throw new RegistrationRefusal('invalid_redirect_uri', `redirect_uris: ${JSON.stringify(uri.slice(0, 100))} ${fault}`)
}

function redirectFault(url: URL): string | undefined {
  if (url.href.includes('#')) return 'has a fragment'
  if (url.username !== '' || url.password !== '') return 'has a user name'
  if (url.protocol === 'https:') return isLoopbackHost(url.hostname) ? 'is loopback: use http there' : undefined
  if (url.protocol === 'http:') return ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname) ? undefined : 'needs https'
  return NO_APPLICATION.has(url.protocol) ? 'has a scheme that is not allowed' : undefined
}

/** What events tell of a client. */
export function clientFields({ client_id, client_name, redirect_uris = [] }: ClientMetadata) {
  return { client_id, ...(client_name !== undefined && { client_name }), redirect_uris: [...redirect_uris] }
}
