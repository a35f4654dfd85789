import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import { type EchoHttp, startEchoHttp } from './echo-http.ts'

/** An MCP server that asks for OAuth, and the authorization server that it trusts; both on loopback, the latter by a library of its own. */
export interface OAuthUpstream {
  /** The MCP endpoint. */
  url: string
  issuer: string
  echo: EchoHttp
  /** Values of `Authorization` that came to the MCP server, oldest first. */
  seen: string[]
  /** Requests of the token endpoint, by grant type. */
  asked: string[]
  /** From now on access tokens that it gave are not taken. */
  forget(): void
  /** What the metadata document of the MCP server says instead. */
  document: Record<string, unknown>
  /** The token endpoint answers so instead. */
  broken: { status: number; body: object } | undefined
  close(): Promise<void>
}

export async function startOAuthUpstream({ tokenSeconds = 3600 }: { tokenSeconds?: number } = {}): Promise<OAuthUpstream> {
  const echo = await startEchoHttp()
  const forgotten = new Set<string>()
  const authServer = createServer()
  const issuer = await listen(authServer)
  const mcpServer = createServer()
  const origin = await listen(mcpServer)
  const resource = `${origin}/mcp`
  const provider = createProvider(issuer, tokenSeconds)
  const upstream: OAuthUpstream = {
    url: resource,
    issuer,
    echo,
    seen: [],
    asked: [],
    document: {},
    broken: undefined,
    forget: () => upstream.seen.forEach((each) => forgotten.add(each)),
    close: async () => {
      for (const server of [authServer, mcpServer]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
      await echo.close()
    },
  }
  const callback = provider.callback()
  authServer.on('request', (message: IncomingMessage, response: ServerResponse) => {
    if (message.url?.startsWith('/token')) {
      upstream.asked.push('token')
      if (upstream.broken !== undefined) return json(response, upstream.broken.status, upstream.broken.body)
    }
    if (message.url?.startsWith('/interaction/')) return void finishInteraction(provider, message, response)
    void callback(message, response)
  })
  mcpServer.on('request', (message: IncomingMessage, response: ServerResponse) => {
    if (message.url?.startsWith('/.well-known/oauth-protected-resource'))
      return json(response, 200, { resource, authorization_servers: [issuer], scopes_supported: ['tools'], ...upstream.document })
    void guard(provider, upstream, message, response, forgotten)
  })
  return upstream
}

function createProvider(issuer: string, seconds: number): Provider {
  return new Provider(issuer, {
    clients: [],
    scopes: ['openid', 'offline_access', 'tools'],
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, indicator) => ({
          scope: 'tools',
          audience: indicator,
          accessTokenTTL: seconds,
          accessTokenFormat: 'opaque',
        }),
        useGrantedResource: () => true,
      },
    },
    pkce: { required: () => true },
    issueRefreshToken: () => true,
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    ttl: { AccessToken: seconds, RefreshToken: 86_400, Session: 3600, Interaction: 600, Grant: 86_400 },
  })
}

/** Whoever comes is the same person, and allows everything. */
async function finishInteraction(provider: Provider, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(message, response)
  if (prompt.name === 'login') return await provider.interactionFinished(message, response, { login: { accountId: 'them' } })
  const grant = new provider.Grant({ accountId: session?.accountId ?? '', clientId: String(params['client_id']) })
  grant.addOIDCScope('openid offline_access tools')
  grant.addResourceScope(String(params['resource']), 'tools')
  await provider.interactionFinished(message, response, { consent: { grantId: await grant.save() } })
}

async function guard(
  provider: Provider,
  upstream: OAuthUpstream,
  message: IncomingMessage,
  response: ServerResponse,
  forgotten: ReadonlySet<string>,
): Promise<void> {
  const authorization = message.headers.authorization ?? ''
  if (authorization !== '') upstream.seen.push(authorization)
  const token = await provider.AccessToken.find(authorization.replace(/^Bearer /, ''))
  const isGood = token?.isValid && token.aud === upstream.url && !forgotten.has(authorization)
  if (!isGood) {
    const metadata = `${new URL(upstream.url).origin}/.well-known/oauth-protected-resource/mcp`
    response.setHeader('www-authenticate', `Bearer resource_metadata="${metadata}", scope="tools"`)
    return json(response, 401, { error: 'invalid_token' })
  }
  const passed = request(new URL(upstream.echo.url), { method: message.method, headers: message.headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  })
  passed.on('error', () => response.destroy())
  response.on('close', () => passed.destroy())
  message.pipe(passed)
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
  response.end(JSON.stringify(body))
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}` // it listens
}
