import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Children } from './children.ts'
import { startGateway } from './gateway.ts'
import { machine, renderTables, summarise } from './report.ts'
import { type Target, type Trial, runTrial } from './trial.ts'

const TARGETS = ['direct', 'http', 'undici', 'gateway', 'gateway-stdio']
const WARMUP_MS = 500
/** Not counted, once for each target: compilers take thousands of calls to settle. */
const FIRST_WARMUP_MS = 3000

const USAGE = `npm run bench -- [options]
  --seconds N        measured time of one trial (2)
  --rounds N         rounds; in each every target is measured once, in random order (5)
  --concurrency L    calls under way at a time, several as 1,16 (1,16)
  --targets L        of ${TARGETS.join(',')} (all)
  --out FILE         where the figures go (bench/results/latest.json)
  --profile DIR      also write a CPU profile of the gateway there
  --other DIR        also measure the gateway of another checkout, as "other"
`

/** Compares calls through the gateway with the upstream itself and with bare proxies, in one interleaved run. */
async function main(): Promise<void> {
  const options = readOptions()
  if (!options) return void process.stdout.write(USAGE)
  const children = new Children()
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  try {
    const targets = await startTargets(children, directory, options)
    const trials = await measure(children, targets, options)
    const summaries = summarise(trials)
    process.stdout.write(`\n${renderTables(summaries)}`)
    mkdirSync(join(options.out, '..'), { recursive: true })
    const { seconds, rounds, concurrency } = options
    writeFileSync(
      options.out,
      `${JSON.stringify({ date: new Date().toISOString(), machine: machine(), options: { seconds, rounds, concurrency }, summaries, trials }, undefined, 1)}\n`,
    )
    process.stdout.write(`\nFigures: ${options.out}\n`)
  } finally {
    await children.close()
  }
}

interface Options {
  seconds: number
  rounds: number
  concurrency: number[]
  targets: string[]
  out: string
  profile: string | undefined
  other: string | undefined
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
      concurrency: { type: 'string', default: '1,16' },
      targets: { type: 'string', default: TARGETS.join(',') },
      out: { type: 'string', default: join(import.meta.dirname, 'results', 'latest.json') },
      profile: { type: 'string' },
      other: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const targets = values.targets.split(',')
  const unknown = targets.find((name) => !TARGETS.includes(name))
  if (unknown !== undefined) throw new Error(`there is no target "${unknown}": choose from ${TARGETS.join(', ')}`)
  const concurrency = values.concurrency.split(',').map((text) => bounded('--concurrency', text, 64))
  const { out, profile, other } = values
  return {
    seconds: bounded('--seconds', values.seconds, 30),
    rounds: bounded('--rounds', values.rounds, 50),
    concurrency,
    targets,
    out,
    profile,
    other,
  }
}

function bounded(name: string, text: string, max: number): number {
  const value = Number(text)
  if (!(value > 0 && value <= max)) throw new Error(`${name} must be above 0 and at most ${max}`)
  return value
}

async function startTargets(children: Children, directory: string, { targets, profile, other }: Options): Promise<Target[]> {
  const upstream = await children.forkServer('upstream-http.ts')
  const bare = { path: '/mcp', token: 'none' }
  const started: Target[] = [{ name: 'direct', ...upstream, ...bare }]
  for (const name of ['http', 'undici']) {
    if (targets.includes(name)) started.push({ name, ...(await children.forkServer(`proxy-${name}.ts`, [String(upstream.port)])), ...bare })
  }
  if (targets.some((name) => name.startsWith('gateway'))) {
    const gateway = await startGateway(children, {
      directory,
      root: join(import.meta.dirname, '..'),
      upstreamPort: upstream.port,
      profileDirectory: profile,
    })
    started.push(
      { name: 'gateway', ...gateway, path: '/mcp/apps/echo-http' },
      { name: 'gateway-stdio', ...gateway, path: '/mcp/apps/echo-stdio' },
    )
  }
  if (other !== undefined) {
    const gateway = await startGateway(children, {
      directory: join(directory, 'other'),
      root: other,
      upstreamPort: upstream.port,
      profileDirectory: undefined,
    })
    started.push({ name: 'other', ...gateway, path: '/mcp/apps/echo-http' })
  }
  return started.filter(({ name }) => name === 'other' || targets.includes(name))
}

async function measure(children: Children, targets: readonly Target[], { seconds, rounds, concurrency }: Options): Promise<Trial[]> {
  const trials: Trial[] = []
  for (const target of targets)
    await runTrial(children, target, 0, { connections: Math.max(...concurrency), warmupMs: 0, measureMs: FIRST_WARMUP_MS })
  for (const connections of concurrency) {
    for (let round = 1; round <= rounds; round++) {
      for (const target of shuffled(targets)) {
        const trial = await runTrial(children, target, round, { connections, warmupMs: WARMUP_MS, measureMs: seconds * 1000 })
        trials.push(trial)
        process.stderr.write(`${connections} at a time, round ${round}: ${target.name} ${Math.round(trial.requestsPerSecond)}/s\n`)
      }
    }
  }
  return trials.toSorted(
    (a, b) => targets.findIndex(({ name }) => name === a.target) - targets.findIndex(({ name }) => name === b.target) || a.round - b.round,
  )
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

await main()
