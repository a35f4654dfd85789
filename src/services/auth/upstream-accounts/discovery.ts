import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import type { Fetched, GuardedPost } from '../../../lib/guarded-fetch.ts'
import { type App, upstreamUrl } from '../../../resources/app.ts'

/** Fetches within the guard of the Auth Service; `trusted` are origins that an administrator named. */
export type AccountFetch = (url: URL, trusted: ReadonlySet<string>, post?: GuardedPost) => Promise<Fetched>

/** Where and how people sign in to an MCP server. */
export interface SignInPlace {
  /** The `resource` to ask for (RFC 8707). */
  resource: string
  issuer: string
  authorizationEndpoint: string
  tokenEndpoint: string
  registrationEndpoint: string | undefined
  /** Whether answers say who they are from (RFC 9207). */
  saysIssuer: boolean
  takesClientDocuments: boolean
  authMethods: readonly string[] | undefined
  scope: string
}

const resourceDocument = z.object({
  resource: z.string(),
  authorization_servers: z.array(z.string()).min(1).max(20),
  scopes_supported: z.array(z.string().max(200)).max(200).optional(),
})

const serverDocument = z.object({
  issuer: z.string(),
  authorization_endpoint: z.string(),
  token_endpoint: z.string(),
  registration_endpoint: z.string().optional(),
  code_challenge_methods_supported: z.array(z.string()),
  authorization_response_iss_parameter_supported: z.boolean().optional(),
  client_id_metadata_document_supported: z.boolean().optional(),
  token_endpoint_auth_methods_supported: z.array(z.string()).optional(),
  scopes_supported: z.array(z.string()).optional(),
})

/** What an administrator vouches for: the server itself, and the issuer where the app names one. */
export function trustedOrigins(app: App): ReadonlySet<string> {
  const named = app.spec.mcp?.oauth?.authorization_server
  return new Set([upstreamUrl(app).origin, ...(named === undefined ? [] : [new URL(named).origin])])
}

/**
 * Finds out where people sign in to an MCP server: what its challenge says, else where its metadata has to be (RFC 9728), then the metadata of the
 * authorization server (RFC 8414, OpenID Connect Discovery). Documents that speak for somebody else are not believed.
 * Throws `failed_precondition` or `unavailable` in words for an administrator.
 */
export async function discoverSignIn(app: App, fetch: AccountFetch): Promise<SignInPlace> {
  const url = upstreamUrl(app)
  const trusted = trustedOrigins(app)
  const named = app.spec.mcp?.oauth?.authorization_server
  const challenge = await findChallenge(url, trusted, fetch)
  const described = await findResource(app, url, challenge.metadata, trusted, fetch)
  // MCP 2025-03-26: the server's own origin is the issuer where it says nothing.
  const issuer = named ?? described?.authorization_servers[0] ?? url.origin
  const found = await findServer(app, issuer, trusted, fetch)
  if (!found.code_challenge_methods_supported.includes('S256')) throw broken(app, `${issuer} does not support PKCE with S256`)
  const asked = app.spec.mcp?.oauth?.scopes ?? challenge.scopes ?? described?.scopes_supported ?? []
  const scopes = found.scopes_supported?.includes('offline_access') ? [...new Set([...asked, 'offline_access'])] : asked
  return {
    resource: described?.resource ?? canonical(url),
    issuer,
    authorizationEndpoint: checkedPage(app, found.authorization_endpoint, trusted),
    tokenEndpoint: found.token_endpoint,
    registrationEndpoint: found.registration_endpoint,
    saysIssuer: found.authorization_response_iss_parameter_supported === true,
    takesClientDocuments: found.client_id_metadata_document_supported === true,
    authMethods: found.token_endpoint_auth_methods_supported,
    scope: scopes.join(' '),
  }
}

interface Challenge {
  metadata: URL | undefined
  scopes: string[] | undefined
}

const PROBE = JSON.stringify({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'sallyport', version: '1' } },
})

/** What the server says to somebody without a token; nothing where it cannot be asked. */
async function findChallenge(url: URL, trusted: ReadonlySet<string>, fetch: AccountFetch): Promise<Challenge> {
  const headers = { 'content-type': 'application/json', 'mcp-protocol-version': '2025-11-25' }
  const answer = await fetch(url, trusted, { body: PROBE, headers }).catch(unlessRefused)
  const text = answer?.status === 401 ? (answer.headers['www-authenticate'] ?? '') : ''
  const metadata = /\bresource_metadata="([^"]{1,2000})"/.exec(text)?.[1]
  const scope = /\bscope="([^"]{1,2000})"/.exec(text)?.[1]
  return { metadata: metadata === undefined ? undefined : (URL.parse(metadata) ?? undefined), scopes: scope?.split(' ').filter(Boolean) }
}

async function findResource(app: App, url: URL, named: URL | undefined, trusted: ReadonlySet<string>, fetch: AccountFetch) {
  const root = new URL('/.well-known/oauth-protected-resource', url)
  const below = new URL(`/.well-known/oauth-protected-resource${url.pathname.replace(/\/$/, '')}`, url)
  for (const place of named ? [named] : url.pathname === '/' ? [root] : [below, root]) {
    const document = await fetchDocument(place, trusted, fetch)
    const parsed = resourceDocument.safeParse(document)
    if (!parsed.success) continue
    if (!covers(parsed.data.resource, url))
      throw broken(app, `${place.origin} describes another resource, ${parsed.data.resource.slice(0, 200)}`)
    return parsed.data
  }
  return undefined
}

/** A token for `resource` is for this URL or for a part of the server that has it (RFC 9728 section 3.3). */
function covers(resource: string, url: URL): boolean {
  const parsed = URL.parse(resource)
  if (!parsed || parsed.origin !== url.origin || parsed.hash !== '') return false
  const path = parsed.pathname.replace(/\/$/, '')
  return url.pathname === path || url.pathname.startsWith(`${path}/`)
}

async function findServer(app: App, issuer: string, trusted: ReadonlySet<string>, fetch: AccountFetch) {
  const url = URL.parse(issuer)
  if (!url || url.search !== '' || url.hash !== '') throw broken(app, 'its authorization server is no issuer (RFC 8414)')
  const path = url.pathname.replace(/\/$/, '')
  const paths = [
    `/.well-known/oauth-authorization-server${path}`,
    `/.well-known/openid-configuration${path}`,
    ...(path === '' ? [] : [`${path}/.well-known/openid-configuration`]),
  ]
  for (const place of paths) {
    const parsed = serverDocument.safeParse(await fetchDocument(new URL(place, url), trusted, fetch))
    // One that calls itself something else could be anybody's (RFC 8414 section 3.3).
    if (parsed.success && parsed.data.issuer === issuer) return parsed.data
  }
  throw broken(app, `${issuer.slice(0, 200)} has no metadata that are its own and name PKCE`)
}

/** The browser goes there: never to a script, and in the clear only where an administrator says so. */
function checkedPage(app: App, text: string, trusted: ReadonlySet<string>): string {
  const url = URL.parse(text)
  if (!url || url.hash !== '' || !(url.protocol === 'https:' || (url.protocol === 'http:' && isPlainAllowed(url, trusted))))
    throw broken(app, 'its page to sign in is no https address')
  return url.href
}

function isPlainAllowed(url: URL, trusted: ReadonlySet<string>): boolean {
  return trusted.has(url.origin) || url.hostname === '127.0.0.1' || url.hostname === 'localhost'
}

async function fetchDocument(url: URL, trusted: ReadonlySet<string>, fetch: AccountFetch): Promise<unknown> {
  const answer = await fetch(url, trusted).catch(unlessRefused)
  if (answer?.status !== 200) return undefined
  try {
    return JSON.parse(answer.body.toString())
  } catch {
    return undefined // no document: the next place is looked at
  }
}

/** Not to be reached is one thing; where nobody may go is for the administrator to hear. */
function unlessRefused(thrown: unknown): undefined {
  if (thrown instanceof AppError && thrown.code === 'unavailable') return undefined
  throw thrown
}

function canonical(url: URL): string {
  return url.pathname === '/' ? url.origin : `${url.origin}${url.pathname}`
}

function broken(app: App, why: string): AppError {
  return new AppError('failed_precondition', `nobody can sign in to MCP server "${app.metadata.name}": ${why}`)
}
