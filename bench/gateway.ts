import { mkdirSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { createApiToken } from '../src/api/api-tokens.ts'
import { listResources, upsertResource } from '../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../src/api/users.ts'
import { type ApiClient, createApiClient } from '../src/client/call.ts'
import { createLocalCarrier } from '../src/client/local-carrier.ts'
import type { Children } from './children.ts'

export interface Gateway {
  pid: number
  port: number
  /** A bearer token of a user with three roles. */
  token: string
  /** Tokens of so many more users with the same roles. */
  addUsers(count: number): Promise<string[]>
}

export interface GatewayOptions {
  /** For configuration, data and log; made when missing. */
  directory: string
  /** The checkout whose gateway is started. */
  root: string
  upstreamPort: number
  /** Where a CPU profile goes when the gateway ends. */
  profileDirectory: string | undefined
  /** Registered besides the two servers and three roles that are always there. */
  more?: readonly Registered[]
}

/** A type, not an interface: only that is also a record of any keys. */
type Registered = { kind: string; version: string; metadata: { name: string; labels?: Record<string, string> }; spec: object }

const REGISTRATION_MS = 60_000

/** `sallyport start` as anybody runs it, audit and roles on, with an HTTP server, the same answering by events, and a stdio server behind it. */
export async function startGateway(
  children: Children,
  { directory, root, upstreamPort, profileDirectory, more = [] }: GatewayOptions,
): Promise<Gateway> {
  mkdirSync(directory, { recursive: true })
  const dataDirectory = join(directory, 'data')
  const config = join(directory, 'sallyport.yaml')
  writeFileSync(
    config,
    `sallyport:\n  data_dir: ${dataDirectory}\nauth_service:\n  cluster_name: bench\nproxy_service:\n  web_listen_addr: 127.0.0.1:0\n`,
  )
  const flags = profileDirectory === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileDirectory]
  const { child, match } = await children.spawnUntil([...flags, join(root, 'bin', 'sallyport'), 'start', '-c', config], {
    env: { ...process.env, SALLYPORT_HOME: '' },
    logFile: join(directory, 'gateway.log'),
    whenUp: /listening on \S+?:(\d+),/,
  })
  const api = createApiClient(createLocalCarrier(dataDirectory))
  for (const resource of [...resources(upstreamPort), ...more])
    await api(upsertResource, { kind: resource.kind, name: resource.metadata.name, resource })
  const addUser = async (name: string): Promise<string> => {
    const { path } = await api(inviteUser, { name, roles: ['bench-readers', 'bench-writers', 'bench-guests'] })
    await api(acceptInvite, { token: path.split('/').at(-1) ?? '', password: 'correct horse battery staple' })
    return (await api(createApiToken, { user: name })).token
  }
  const token = await addUser('bench')
  await waitForServers(api, 3 + more.filter(({ kind }) => kind === 'app').length)
  return {
    pid: child.pid ?? 0,
    port: Number(match[1]),
    token,
    addUsers: async (count) => {
      const tokens: string[] = []
      for (let n = 0; n < count; n++) tokens.push(await addUser(`bench-${n}`))
      return tokens
    },
  }
}

/** Until the agent has told the Auth Service what it serves. */
async function waitForServers(api: ApiClient, count: number): Promise<void> {
  const until = performance.now() + REGISTRATION_MS
  for (;;) {
    // Not the servers the administrator may use, who has no role: what the agents say they offer.
    const { items } = await api(listResources, { kind: 'app_server' })
    if (items.length >= count) return
    if (performance.now() > until) throw new Error(`${items.length} of ${count} servers were registered after ${REGISTRATION_MS / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function resources(upstreamPort: number): Registered[] {
  const role = (name: string, spec: object): Registered => ({ kind: 'role', version: 'v8', metadata: { name }, spec })
  const app = (name: string, spec: object): Registered => ({
    kind: 'app',
    version: 'v3',
    metadata: { name, labels: { env: 'bench', team: 'search' } },
    spec,
  })
  const stdio = { command: process.execPath, args: [join(import.meta.dirname, 'upstream-stdio.ts')], run_as_host_user: userInfo().username }
  return [
    role('bench-readers', { allow: { app_labels: { env: 'bench' }, mcp: { tools: ['get_*', '^(list|search)_.*$'] } } }),
    role('bench-writers', {
      allow: { app_labels: { team: ['search', 'index'] }, mcp: { tools: ['put_*'] } },
      deny: { mcp: { tools: ['drop_*'] } },
    }),
    role('bench-guests', { allow: { app_labels: { env: 'public' }, mcp: { tools: ['*'] } } }),
    app('echo-http', { uri: `mcp+http://127.0.0.1:${upstreamPort}/mcp` }),
    app('echo-events', { uri: `mcp+http://127.0.0.1:${upstreamPort}/events` }),
    app('echo-stdio', { mcp: stdio }),
  ]
}

/** So that every server's tools are known to the gateway, and have names at the one URL. */
export async function listAll({ port, token }: Pick<Gateway, 'port' | 'token'>): Promise<void> {
  const _meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }
  const response = await fetch(`http://127.0.0.1:${port}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/list',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta } }),
  })
  if (response.status !== 200) throw new Error(`tools/list of all servers was answered with HTTP ${response.status}`)
  await response.arrayBuffer()
}
