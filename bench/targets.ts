import { join } from 'node:path'
import type { Children } from './children.ts'
import { listAll, startGateway } from './gateway.ts'
import { startNginx } from './nginx.ts'
import { arePeersInstalled, installPeers, PEER_NAMES, type PeerName, startPeer } from './peers.ts'
import type { Target } from './trial.ts'

/** What is compared; the first is what the others are ratios to. */
export const TARGETS = [
  'direct',
  'direct-events',
  'pipe',
  'http',
  'undici',
  'nginx',
  'raw-stdio',
  'raw-stdio-each',
  'sdk-relay',
  ...PEER_NAMES,
  'gateway',
  'gateway-events',
  'gateway-stdio',
  'gateway-2026',
  'gateway-stdio-2026',
  'aggregate',
] as const
export type TargetName = (typeof TARGETS)[number]

export interface TargetOptions {
  targets: readonly TargetName[]
  /** Whether gateways of others may be fetched from npm. */
  peers: boolean
  profile: string | undefined
  /** Another checkout whose gateway is measured too. */
  other: string | undefined
}

const TOOL = 'search_documents'

/** Starts what is to be measured; what cannot be is said on standard error. */
export async function startTargets(children: Children, directory: string, options: TargetOptions): Promise<Target[]> {
  const upstream = await children.forkServer('upstream-http.ts')
  const bare = { path: '/mcp', token: 'none', tool: TOOL }
  const wants = (name: TargetName): boolean => options.targets.includes(name)
  const started: Target[] = [
    { name: 'direct', ...upstream, ...bare },
    { name: 'direct-events', ...upstream, ...bare, path: '/events' },
  ]
  for (const name of ['pipe', 'http', 'undici'] as const) {
    if (wants(name)) started.push({ name, ...(await children.forkServer(`proxy-${name}.ts`, [String(upstream.port)])), ...bare })
  }
  if (wants('nginx')) {
    const nginx = await startNginx(children, directory, upstream.port)
    if (nginx) started.push({ name: 'nginx', ...nginx, ...bare })
    else process.stderr.write('nginx: not measured, it is not installed (Debian: nginx-light)\n')
  }
  if (wants('raw-stdio')) started.push({ name: 'raw-stdio', ...(await children.forkServer('raw-stdio.ts')), ...bare })
  if (wants('raw-stdio-each')) started.push({ name: 'raw-stdio-each', ...(await children.forkServer('raw-stdio.ts', ['each'])), ...bare })
  if (wants('sdk-relay'))
    started.push({ name: 'sdk-relay', ...(await children.forkServer('sdk-relay.ts', [String(upstream.port)])), ...bare })
  for (const target of await startPeers(children, directory, options)) started.push({ ...bare, ...target })
  started.push(...(await startGateways(children, directory, upstream.port, options)))
  return started.filter(({ name }) => name === 'other' || options.targets.some((wanted) => wanted === name))
}

async function startPeers(
  children: Children,
  directory: string,
  { targets, peers }: TargetOptions,
): Promise<{ name: PeerName; pid: number; port: number }[]> {
  const wanted = PEER_NAMES.filter((name) => targets.includes(name))
  if (wanted.length === 0) return []
  if (peers && !arePeersInstalled()) installPeers()
  if (!arePeersInstalled()) {
    process.stderr.write(`${wanted.join(', ')}: not measured, --peers fetches them from npm\n`)
    return []
  }
  return Promise.all(wanted.map(async (name) => ({ name, ...(await startPeer(children, name, directory)) })))
}

async function startGateways(children: Children, directory: string, upstreamPort: number, options: TargetOptions): Promise<Target[]> {
  const { targets, profile, other } = options
  const started: Target[] = []
  if (targets.some((name) => name.startsWith('gateway') || name === 'aggregate')) {
    const root = join(import.meta.dirname, '..')
    const gateway = await startGateway(children, { directory, root, upstreamPort, profileDirectory: profile })
    if (targets.includes('aggregate')) await listAll(gateway)
    started.push(
      { name: 'gateway', ...gateway, path: '/mcp/apps/echo-http', tool: TOOL },
      { name: 'gateway-events', ...gateway, path: '/mcp/apps/echo-events', tool: TOOL },
      { name: 'gateway-stdio', ...gateway, path: '/mcp/apps/echo-stdio', tool: TOOL },
      { name: 'gateway-2026', ...gateway, path: '/mcp/apps/echo-http', tool: TOOL, revision: '2026-07-28' },
      { name: 'gateway-stdio-2026', ...gateway, path: '/mcp/apps/echo-stdio', tool: TOOL, revision: '2026-07-28' },
      { name: 'aggregate', ...gateway, path: '/mcp', tool: `echo-http_${TOOL}` },
    )
  }
  if (other !== undefined) {
    const at = join(directory, 'other')
    const gateway = await startGateway(children, { directory: at, root: other, upstreamPort, profileDirectory: undefined })
    started.push({ name: 'other', ...gateway, path: '/mcp/apps/echo-http', tool: TOOL })
  }
  return started
}
