import type { IncomingMessage, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Provider } from 'oidc-provider'
import { AppError, CODES, toAppError } from '../../../lib/errors.ts'
import { isMetadataPath, isOpenToPages, OAUTH_PATHS } from '../../../resources/oauth-paths.ts'
import type { AuthContext } from '../context.ts'
import { USER_CODE_HEADER } from '../pages/device.ts'
import { requireSource } from '../refused-requests.ts'
import { vouchesForPeople } from './id-jag.ts'
import { issuerOf, originOf } from './issuer.ts'
import { findMetadata } from './metadata.ts'
import type { ProviderOptions } from './provider.ts'
import { GRANT_TYPES, registerClient, RegistrationRefusal } from './registration.ts'

/** The authorization server as HTTP. */
export interface OAuthServer {
  /** Answers a request that is for it; false when it is not. */
  serve(request: IncomingMessage, response: ServerResponse): boolean
  /** At the address that people reach the cluster by now. */
  provider(): Promise<Provider>
}

const ALL_GRANT_TYPES = [...GRANT_TYPES, 'client_credentials']
const MAX_BODY_BYTES = 64 * 1024
const METADATA_SECONDS = 300
const PREFLIGHT_SECONDS = 3600

interface Made {
  issuer: string
  provider: Provider
  callback: ReturnType<Provider['callback']>
}

/** Made when it is asked for first: only then it is known where the proxy listens, and loading the library takes a while. */
export function createOAuthServer(context: AuthContext, options: ProviderOptions): OAuthServer {
  let made: { issuer: string; ready: Promise<Made> } | undefined
  const current = (): Promise<Made> => {
    const issuer = issuerOf(context.publicAddress())
    if (made?.issuer !== issuer) made = { issuer, ready: make(context, issuer, options) }
    return made.ready
  }
  return {
    provider: async () => (await current()).provider,
    serve: (request, response) => {
      const url = request.url ?? '/'
      const [path = '/'] = url.split('?', 1)
      if (!isMetadataPath(path) && !path.startsWith('/oauth/')) return false
      answer(context, request, response, path, current).catch((thrown: unknown) => fail(context, response, thrown))
      return true
    },
  }
}

async function make(context: AuthContext, issuer: string, options: ProviderOptions): Promise<Made> {
  const { createProvider } = await import('./provider.ts')
  const provider = createProvider(context, issuer, options)
  return { issuer, provider, callback: provider.callback() }
}

async function answer(
  context: AuthContext,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  current: () => Promise<Made>,
): Promise<void> {
  const remoteAddress = request.socket.remoteAddress ?? 'unknown'
  const open = isOpenToPages(path)
  const sent = { method: request.method ?? '', path, remoteAddress }
  await requireSource(context, sent, { host: request.headers.host, origin: open ? undefined : request.headers.origin })
  response.setHeader('x-content-type-options', 'nosniff')
  if (open) allowPages(response)
  if (open && request.method === 'OPTIONS') return void response.writeHead(204).end()
  if (isMetadataPath(path)) return answerMetadata(context, request, response, path)
  await context.limits.countOAuthCall(remoteAddress)
  if (path === OAUTH_PATHS.registration) return await answerRegistration(context, request, response, remoteAddress)
  guardPage(response)
  await context.changes.catchUp()
  const { issuer, callback } = await current()
  await callback(rewritten(request, issuer, remoteAddress), response)
}

/** Without credentials: nothing of what is served here looks at cookies. */
function allowPages(response: ServerResponse): void {
  response.setHeader('access-control-allow-origin', '*')
  response.setHeader('access-control-allow-methods', 'GET, POST')
  response.setHeader('access-control-allow-headers', 'authorization, content-type, dpop, mcp-protocol-version')
  response.setHeader('access-control-expose-headers', 'dpop-nonce, www-authenticate')
  response.setHeader('access-control-max-age', String(PREFLIGHT_SECONDS))
}

/** Against clickjacking, and so that other sites are told no address of ours; with no-referrer our own forms would come from nowhere (`Origin: null`). */
function guardPage(response: ServerResponse): void {
  response.setHeader(
    'content-security-policy',
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  )
  response.setHeader('x-frame-options', 'DENY')
  response.setHeader('referrer-policy', 'same-origin')
}

function answerMetadata(context: AuthContext, request: IncomingMessage, response: ServerResponse, path: string): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') throw new AppError('invalid_argument', 'documents are read with GET')
  const host = request.headers.host ?? ''
  const origin = request.socket instanceof TLSSocket ? new URL(`https://${host}`).origin : originOf(host)
  const issuer = issuerOf(context.publicAddress())
  const takesIdJag = context.live.list('oidc').some(vouchesForPeople)
  const document = findMetadata(path, { issuer, origin, grantTypes: ALL_GRANT_TYPES, takesIdJag })
  if (!document) throw new AppError('not_found', `there is no document at ${path.slice(0, 200)}`)
  send(response, 200, document, { 'cache-control': `public, max-age=${METADATA_SECONDS}`, vary: 'host' })
}

async function answerRegistration(
  context: AuthContext,
  request: IncomingMessage,
  response: ServerResponse,
  remoteAddress: string,
): Promise<void> {
  if (request.method !== 'POST') throw new AppError('invalid_argument', 'clients register with POST')
  if (!/^application\/json(?:$|[ ;])/i.test(request.headers['content-type'] ?? ''))
    throw new RegistrationRefusal('invalid_client_metadata', 'send JSON with content-type: application/json')
  send(response, 201, await registerClient(context, await readJson(request), remoteAddress), { 'cache-control': 'no-store' })
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('the request is read as text')
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new RegistrationRefusal('invalid_client_metadata', `the body is larger than ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch {
    throw new RegistrationRefusal('invalid_client_metadata', 'the body is not JSON')
  }
}

/**
 * What the library takes for the address it was called at: that of the issuer, whatever the client or a proxy before us said. A request for
 * authorization without a scope asks for all that the roles allow (RFC 6749 section 3.3).
 */
function rewritten(request: IncomingMessage, issuer: string, remoteAddress: string): IncomingMessage {
  const { protocol, host } = new URL(issuer)
  delete request.headers['x-forwarded-path']
  request.headers['x-forwarded-proto'] = protocol.slice(0, -1)
  request.headers['x-forwarded-host'] = host
  request.headers['x-forwarded-for'] = remoteAddress
  const { pathname, searchParams, search } = new URL(request.url ?? '/', issuer)
  request.headers[USER_CODE_HEADER] = searchParams.get('user_code')?.slice(0, 20) ?? ''
  if (pathname === OAUTH_PATHS.device) request.url = pathname
  if (pathname === OAUTH_PATHS.authorization && !searchParams.has('scope'))
    request.url = `${pathname}${search === '' ? '?' : `${search}&`}scope=mcp`
  return request
}

/** RFC 6749 section 5.2; the words of RFC 7591 section 3.2.2 for registrations. */
function fail(context: AuthContext, response: ServerResponse, thrown: unknown): void {
  const error = toAppError(thrown)
  if (error.code === 'internal') context.log.error(error.message, { ...error.details, cause: error.cause })
  if (response.headersSent) return void response.destroy()
  const code = thrown instanceof RegistrationRefusal ? thrown.error : (OAUTH_ERRORS[error.code] ?? 'invalid_request')
  const wait = error.details?.['retry_after_seconds']
  send(
    response,
    CODES[error.code].http,
    { error: code, error_description: error.message },
    { 'cache-control': 'no-store', connection: 'close', ...(typeof wait === 'number' && { 'retry-after': String(wait) }) },
  )
}

const OAUTH_ERRORS: Partial<Record<AppError['code'], string>> = {
  internal: 'server_error',
  unavailable: 'temporarily_unavailable',
  resource_exhausted: 'temporarily_unavailable',
  permission_denied: 'access_denied',
}

function send(response: ServerResponse, status: number, body: object, headers: Record<string, string>): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}
