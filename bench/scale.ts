import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type Children, nextMessage, within } from './children.ts'
import { listAll, type Gateway, startGateway } from './gateway.ts'
import { type Goal, renderGoals } from './goals.ts'
import { residentMegabytes } from './process-usage.ts'
import { median } from './report.ts'
import { shuffled } from './shuffled.ts'
import { runTrial, type Target } from './trial.ts'

const ROOT = join(import.meta.dirname, '..')
/** A caller may have 64 sessions. */
const PER_USER = 60
/** Two heartbeats of 15 s and a little more. */
const PROBE_MS = 34_000
const OPEN_MS = 300_000

export interface ScaleOptions {
  streams: number
  rounds: number
  seconds: number
}

/** What does not show in calls per second: idle streams, and registries that are full. */
export async function measureScale(children: Children, directory: string, options: ScaleOptions): Promise<Record<string, unknown>> {
  const idle = await measureIdle(children, join(directory, 'idle'), options.streams)
  const many = await measureMany(children, directory, options)
  const goals: Goal[] = [
    { measure: 'KB of memory per idle stream', seen: idle.kbEach, must: 20, goal: 14, isCost: true },
    { measure: 'ms the loop stands still for heartbeats', seen: idle.stillMs, must: 20, goal: 10, isCost: true },
    {
      measure: 'CPU of a call with 1,000 servers, 20,000 tools, 500 roles ÷ with few',
      seen: many.cpu,
      must: 1.1,
      goal: 1.02,
      isCost: true,
    },
  ]
  process.stdout.write(`\n${renderGoals(goals)}`)
  return { goals, idle, many }
}

/** Sessions of the aggregate endpoint with their GET streams, all idle. */
async function measureIdle(children: Children, directory: string, streams: number) {
  const upstream = await children.forkServer('upstream-http.ts')
  const gateway = await startGateway(children, { directory, root: ROOT, upstreamPort: upstream.port, profileDirectory: undefined })
  const tokens = await gateway.addUsers(Math.ceil(streams / PER_USER))
  await sleep(2000)
  const before = residentMegabytes(gateway.pid)
  const quiet = await probe(children, gateway, 5000)
  const clients = children.fork('idle.ts')
  clients.send({ port: gateway.port, path: '/mcp', tokens, perToken: PER_USER })
  const { opened } = z.object({ opened: z.number() }).parse(await within(OPEN_MS, 'opening the streams', nextMessage(clients)))
  await sleep(5000)
  const seen = await probe(children, gateway, PROBE_MS)
  const after = residentMegabytes(gateway.pid)
  await children.end(clients)
  return {
    streams: opened,
    residentMb: { before, after },
    kbEach: ((after - before) * 1024) / opened,
    quiet,
    probe: seen,
    stillMs: seen.ownMs.longest - seen.ownMs.median,
  }
}

const seenSchema = z.object({
  longestMs: z.number(),
  medianMs: z.number(),
  ownMs: z.object({ longest: z.number(), p999: z.number(), median: z.number() }),
  asked: z.number(),
})

async function probe(children: Children, { port, pid }: Gateway, ms: number): Promise<z.output<typeof seenSchema>> {
  const child = children.fork('probe.ts')
  child.send({ port, pid, ms })
  return seenSchema.parse(await within(ms + 30_000, 'the probe', nextMessage(child)))
}

/** The same call with few and with many things registered, in turns. */
async function measureMany(children: Children, directory: string, { rounds, seconds }: ScaleOptions) {
  const upstream = await children.forkServer('upstream-http.ts')
  const start = async (name: string, more: ReturnType<typeof registered>): Promise<Target> => {
    const options = { directory: join(directory, name), root: ROOT, upstreamPort: upstream.port, profileDirectory: undefined, more }
    const { pid, port, token } = await startGateway(children, options)
    return { name, pid, port, token, path: '/mcp/apps/echo-http', tool: 'search_documents' }
  }
  const targets = [await start('few', []), await start('many', registered(upstream.port))]
  const [, many] = targets
  if (many) await listAll(many)
  const ratios: { cpu: number; rate: number }[] = []
  for (let round = 0; round <= rounds; round++) {
    const seen = new Map<string, { cpu: number; rate: number }>()
    for (const target of shuffled(targets)) {
      const order = { connections: 16, bytes: 0, warmupMs: 1000, measureMs: seconds * 1000 }
      const { settledCpuUsPerCall, requestsPerSecond } = await runTrial(children, target, round, 'small', order)
      seen.set(target.name, { cpu: settledCpuUsPerCall, rate: requestsPerSecond })
    }
    const [a, b] = [seen.get('few'), seen.get('many')]
    // The first round warms up.
    if (a && b && round > 0) ratios.push({ cpu: b.cpu / a.cpu, rate: b.rate / a.rate })
  }
  return { cpu: median(ratios.map(({ cpu }) => cpu)), rate: median(ratios.map(({ rate }) => rate)), rounds: ratios }
}

function registered(upstreamPort: number) {
  const labels = { env: 'bench', team: 'search' }
  const apps = Array.from({ length: 1000 }, (_, index) => ({
    kind: 'app',
    version: 'v3',
    metadata: { name: `server-${index}`, labels },
    spec: { uri: `mcp+http://127.0.0.1:${upstreamPort}/mcp` },
  }))
  const roles = Array.from({ length: 500 }, (_, index) => ({
    kind: 'role',
    version: 'v8',
    metadata: { name: `role-${index}` },
    spec: { allow: { app_labels: { team: [`team-${index}`] }, mcp: { tools: [`tool_${index}_*`] } } },
  }))
  return [...apps, ...roles]
}
