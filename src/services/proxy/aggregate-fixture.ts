import type { ApiClient } from '../../client/call.ts'
import { AppError } from '../../lib/errors.ts'

export const NOW = Date.parse('2027-01-01T00:00:00Z')

/** What the Auth Service says of a token: its owner and servers, or why it is refused. */
export interface FakeCaller {
  user: string
  tokenId: string
  servers: string[]
  expiresAt?: number
  /** Of one that is renewed without signing in again. */
  tokenExpiresAt?: number
  refusal?: AppError
}

/** An Auth Service that answers what the aggregate asks, and counts. */
export interface FakeAuth {
  callers: Map<string, FakeCaller>
  /** Route names with the token, oldest first. */
  calls: string[]
  /** Awaited before each answer. */
  gate: Promise<unknown>
  clientFor(token: string): ApiClient
}

export function createFakeAuth(): FakeAuth {
  const auth: FakeAuth = {
    callers: new Map(),
    calls: [],
    gate: Promise.resolve(),
    /* The routes that are called, each with what it says. */
    clientFor: (token) =>
      (async (route: { name: string }) => {
        auth.calls.push(`${route.name} ${token}`)
        await auth.gate
        const caller = auth.callers.get(token)
        if (!caller) throw new AppError('unauthenticated', 'the API token is not valid')
        if (caller.refusal) throw caller.refusal
        return route.name === 'whoami' ? renderCaller(caller) : { items: caller.servers.map(renderServer) }
      }) as ApiClient,
  }
  return auth
}

function renderCaller({ user, tokenId, expiresAt = NOW + 3_600_000, tokenExpiresAt }: FakeCaller) {
  const expires = new Date(expiresAt).toISOString()
  const renewed =
    tokenExpiresAt === undefined ? {} : { credential: 'oauth', scope: 'mcp', token_expires: new Date(tokenExpiresAt).toISOString() }
  return {
    kind: 'user',
    name: user,
    roles: [],
    traits: {},
    credential: 'api_token',
    credential_id: tokenId,
    expires,
    cluster_name: 'c',
    ...renewed,
  }
}

function renderServer(name: string) {
  return {
    kind: 'app',
    version: 'v3',
    metadata: { name, description: `about ${name}`, labels: { env: name.startsWith('prod') ? 'prod' : 'dev' } },
    spec: { uri: 'mcp+http://127.0.0.1:1/mcp' },
    permissions: { mcp: { tools: { allowed: ['*'], denied: [] } } },
  }
}

/** An Auth Service that gives names as `SERVER_ORIGINAL`, and counts what it is asked for. */
export function createFakeNames(): { api: ApiClient; calls: string[]; gate: Promise<unknown> } {
  const given = new Map<string, { server: string; original: string }>()
  const names = {
    calls: [] as string[],
    gate: Promise.resolve() as Promise<unknown>,
    api: (async (route: { name: string }, input: { server: string; what: string; originals: string[]; exposed: string }) => {
      names.calls.push(route.name === 'findMcpName' ? `find ${input.exposed}` : `assign ${input.server} ${input.originals.join(',')}`)
      await names.gate
      if (route.name === 'findMcpName') return { found: given.get(`${input.what} ${input.exposed}`) ?? null }
      return {
        exposed: input.originals.map((original) => {
          if (original === 'unlucky') return null
          given.set(`${input.what} ${input.server}_${original}`, { server: input.server, original })
          return `${input.server}_${original}`
        }),
      }
    }) as ApiClient,
  }
  return names
}
