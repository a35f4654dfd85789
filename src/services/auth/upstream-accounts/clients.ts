import { createHash } from 'node:crypto'
import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import type { App } from '../../../resources/app.ts'
import { findUpstreamRecord, upsertUpstreamRecord } from '../../../storage/upstream-records.ts'
import type { AuthContext } from '../context.ts'
import { issuerOf } from '../oauth/issuer.ts'
import { findValue } from '../secrets.ts'
import { type AccountFetch, type SignInPlace, trustedOrigins } from './discovery.ts'
import { openDocument, sealDocument } from './sealed-documents.ts'

/** What we are to an authorization server. */
export interface OwnClient {
  id: string
  /** Of a registration; one that an administrator gave stands in `secretName`, and is read when it is needed. */
  secret?: string | undefined
  secretName?: string | undefined
  authMethod: 'none' | 'client_secret_basic' | 'client_secret_post'
}

export const clientSchema = z.object({
  id: z.string().min(1).max(4000),
  secret: z.string().max(4000).optional(),
  secretName: z.string().optional(),
  authMethod: z.enum(['none', 'client_secret_basic', 'client_secret_post']),
})

const registeredSchema = z.object({
  client_id: z.string().min(1).max(4000),
  client_secret: z.string().max(4000).optional(),
  client_secret_expires_at: z.number().optional(),
  token_endpoint_auth_method: z.string().optional(),
})

/** Where answers come back to: for each app another one, so that an answer to one cannot pass for an answer to another. */
export function redirectUri(context: Pick<AuthContext, 'publicAddress'>, app: string): string {
  return `${issuerOf(context.publicAddress())}/web/accounts/${encodeURIComponent(app)}/callback`
}

function documentUrl(context: Pick<AuthContext, 'publicAddress'>, app: string): string {
  return `${issuerOf(context.publicAddress())}/web/accounts/${encodeURIComponent(app)}/client.json`
}

/** What we publish of ourselves (client-id metadata documents), and what we register with (RFC 7591). */
export function clientMetadata(context: Pick<AuthContext, 'publicAddress' | 'clusterName'>, app: string) {
  return {
    client_name: `Sallyport (${context.clusterName})`,
    client_uri: issuerOf(context.publicAddress()),
    redirect_uris: [redirectUri(context, app)],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'web',
  }
}

export function clientDocument(context: Pick<AuthContext, 'publicAddress' | 'clusterName'>, app: string) {
  return { client_id: documentUrl(context, app), ...clientMetadata(context, app) }
}

/** The client that an administrator registered, our document, or a registration of our own, whichever is there first. */
export async function getOwnClient(context: AuthContext, app: App, place: SignInPlace, fetch: AccountFetch): Promise<OwnClient> {
  const { name } = app.metadata
  const { client_id: fixed, client_secret: secret } = app.spec.mcp?.oauth ?? {}
  if (fixed !== undefined) return { id: fixed, secretName: secret?.secret, authMethod: secret ? secretMethod(place) : 'none' }
  const document = documentUrl(context, name)
  // From elsewhere nobody could read a document of this machine.
  if (place.takesClientDocuments && document.startsWith('https:')) return { id: document, authMethod: 'none' }
  if (place.registrationEndpoint === undefined)
    throw new AppError(
      'failed_precondition',
      `nobody can sign in to MCP server "${name}": ${place.issuer} registers no clients by itself; an administrator sets spec.mcp.oauth.client_id`,
    )
  const id = registrationId(context, app, place.issuer)
  const known = await findUpstreamRecord(context.db, 'client', id)
  if (known && (known.expires_at ?? Infinity) > context.now()) return clientSchema.parse(openDocument(context, known))
  return await register(context, app, place, place.registrationEndpoint, fetch)
}

/** One registration for each app, issuer and address of ours. */
export function registrationId(context: Pick<AuthContext, 'publicAddress'>, app: App, issuer: string): string {
  const { name } = app.metadata
  return createHash('sha256')
    .update(JSON.stringify([name, issuer, redirectUri(context, name)]))
    .digest('hex')
}

/** The secret as it is now. Throws `failed_precondition` when it is gone. */
export async function secretOf(context: AuthContext, client: OwnClient): Promise<string | undefined> {
  if (client.secretName === undefined) return client.secret
  const value = await findValue(context, client.secretName)
  if (value === undefined) throw new AppError('failed_precondition', `the secret "${client.secretName}" does not exist`)
  return value.trim()
}

async function register(context: AuthContext, app: App, place: SignInPlace, endpoint: string, fetch: AccountFetch): Promise<OwnClient> {
  const { name } = app.metadata
  const url = URL.parse(endpoint)
  const wanted = place.authMethods && !place.authMethods.includes('none') ? secretMethod(place) : 'none'
  const body = JSON.stringify({
    ...clientMetadata(context, name),
    token_endpoint_auth_method: wanted,
    ...(place.scope && { scope: place.scope }),
  })
  const answer = url && (await fetch(url, trustedOrigins(app), { body, headers: { 'content-type': 'application/json' } }))
  const parsed = registeredSchema.safeParse(answer && answer.status < 300 ? parseJson(answer.body) : undefined)
  if (!parsed.success)
    throw new AppError('unavailable', `${place.issuer} did not register the cluster as a client${answer ? ` (HTTP ${answer.status})` : ''}`)
  const { client_id, client_secret, client_secret_expires_at: ends = 0, token_endpoint_auth_method: given } = parsed.data
  const isPost = given === 'client_secret_post'
  const client: OwnClient = {
    id: client_id,
    ...(client_secret !== undefined && { secret: client_secret }),
    authMethod: client_secret === undefined || given === 'none' ? 'none' : isPost ? 'client_secret_post' : 'client_secret_basic',
  }
  const key = { kind: 'client', id: registrationId(context, app, place.issuer) } as const
  await upsertUpstreamRecord(context.db, {
    ...key,
    account: null,
    app: name,
    document: sealDocument(context, key, client),
    created_at: context.now(),
    expires_at: ends === 0 ? null : ends * 1000,
  })
  return client
}

function secretMethod({ authMethods }: SignInPlace): OwnClient['authMethod'] {
  const onlyPost = authMethods?.includes('client_secret_post') === true && !authMethods.includes('client_secret_basic')
  return onlyPost ? 'client_secret_post' : 'client_secret_basic'
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined // said as an answer that is none
  }
}
