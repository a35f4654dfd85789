import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Children } from './children.ts'
import { goalsOf, renderGoals } from './goals.ts'
import { machine, renderTables, summarise } from './report.ts'
import { measureScale } from './scale.ts'
import { shuffled } from './shuffled.ts'
import { startTargets, type TargetName, type TargetOptions, TARGETS } from './targets.ts'
import { type Target, type Trial, runTrial } from './trial.ts'
import { startTunnels } from './tunnel.ts'

const WARMUP_MS = 500
/** Not counted, once for each target: compilers take thousands of calls to settle. */
const FIRST_WARMUP_MS = 3000
/** Text in each answer, by the name of the load. */
const LOADS: Readonly<Record<string, number>> = { small: 85, '10k': 10_000, '1m': 1_000_000 }

const USAGE = `npm run bench -- [options]
  --seconds N        measured time of one trial (2)
  --rounds N         rounds; in each every target is measured once, in random order (5)
  --concurrency L    calls under way at a time, several as 1,16,64 (1,16)
  --loads L          size of the answers: small,10k,1m (small)
  --targets L        of ${TARGETS.join(',')} (all)
  --peers            fetch the gateways of others from npm, once, and measure them too
  --tunnel           instead: a tunnel to an agent, by frames of ours, in a WebSocket, and by HTTP/2
  --scale            instead: idle streams, and calls with many servers, tools and roles registered
  --streams N        idle streams of --scale (10000)
  --out FILE         where the figures go (bench/results/DATE-COMMIT.json)
  --profile DIR      also write a CPU profile of the gateway there
  --other DIR        also measure the gateway of another checkout, as "other"
`

/** Compares calls through the gateway with the upstream itself, with bare proxies and with others' gateways, in one interleaved run. */
async function main(): Promise<void> {
  const options = readOptions()
  if (!options) return void process.stdout.write(USAGE)
  const children = new Children()
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  try {
    if (options.scale) keep(options, await measureScale(children, directory, options))
    else await measureCalls(children, directory, options)
    process.stdout.write(`\nFigures: ${options.out}\n`)
  } finally {
    await children.close()
  }
}

/** Tells after every round what was seen so far, so that a run that is cut short has its figures. */
async function measureCalls(children: Children, directory: string, options: Options): Promise<void> {
  const targets = options.tunnel ? await startTunnels(children, directory) : await startTargets(children, directory, options)
  const place = (trial: Trial): number => targets.findIndex(({ name }) => name === trial.target)
  const trials: Trial[] = []
  await warmUp(children, targets, options)
  for (let round = 1; round <= options.rounds; round++) {
    trials.push(...(await measureRound(children, targets, round, options)))
    const sorted = trials.toSorted((a, b) => place(a) - place(b) || a.round - b.round)
    const summaries = summarise(sorted)
    const goals = goalsOf(summaries)
    keep(options, { goals, summaries, trials: sorted })
    process.stdout.write(`\nAfter round ${round} of ${options.rounds}\n\n${renderTables(summaries)}\n${renderGoals(goals)}`)
  }
}

function keep(options: Options, figures: Record<string, unknown>): void {
  const { seconds, rounds, concurrency, loads, streams } = options
  const facts = {
    date: new Date().toISOString(),
    commit: commit(),
    machine: machine(),
    options: { seconds, rounds, concurrency, loads, streams },
  }
  mkdirSync(join(options.out, '..'), { recursive: true })
  writeFileSync(options.out, `${JSON.stringify({ ...facts, ...figures }, undefined, 1)}\n`)
}

interface Options extends TargetOptions {
  seconds: number
  rounds: number
  concurrency: number[]
  loads: string[]
  scale: boolean
  tunnel: boolean
  streams: number
  out: string
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
      concurrency: { type: 'string', default: '1,16' },
      loads: { type: 'string', default: 'small' },
      targets: { type: 'string', default: TARGETS.join(',') },
      peers: { type: 'boolean', default: false },
      scale: { type: 'boolean', default: false },
      tunnel: { type: 'boolean', default: false },
      streams: { type: 'string', default: '10000' },
      out: { type: 'string' },
      profile: { type: 'string' },
      other: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const { peers, scale, tunnel, profile, other } = values
  return {
    seconds: bounded('--seconds', values.seconds, 30),
    rounds: bounded('--rounds', values.rounds, 50),
    concurrency: values.concurrency.split(',').map((text) => bounded('--concurrency', text, 64)),
    loads: values.loads.split(',').map((name) => known('load', name, Object.keys(LOADS))),
    targets: values.targets.split(',').map((name) => known<TargetName>('target', name, TARGETS)),
    streams: bounded('--streams', values.streams, 50_000),
    out:
      values.out ??
      join(
        import.meta.dirname,
        'results',
        `${new Date().toISOString().slice(0, 10)}-${commit()}${scale ? '-scale' : tunnel ? '-tunnel' : ''}.json`,
      ),
    peers,
    scale,
    tunnel,
    profile,
    other,
  }
}

function known<T extends string>(what: string, name: string, names: readonly T[]): T {
  const found = names.find((one) => one === name)
  if (found === undefined) throw new Error(`there is no ${what} "${name}": choose from ${names.join(', ')}`)
  return found
}

function bounded(name: string, text: string, max: number): number {
  const value = Number(text)
  if (!(value > 0 && value <= max)) throw new Error(`${name} must be above 0 and at most ${max}`)
  return value
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
  } catch {
    return 'unknown' // a copy without its history
  }
}

async function warmUp(children: Children, targets: readonly Target[], { concurrency }: Options): Promise<void> {
  const order = { connections: Math.max(...concurrency), bytes: 0, warmupMs: 0, measureMs: FIRST_WARMUP_MS }
  for (const target of targets) await runTrial(children, target, 0, 'small', order)
}

/** Every load, at every concurrency, over every target once. */
async function measureRound(children: Children, targets: readonly Target[], round: number, options: Options): Promise<Trial[]> {
  const { seconds, concurrency, loads } = options
  const trials: Trial[] = []
  for (const load of loads) {
    for (const connections of concurrency) {
      for (const target of shuffled(targets)) {
        const order = { connections, bytes: LOADS[load] ?? 0, warmupMs: WARMUP_MS, measureMs: seconds * 1000 }
        const trial = await runTrial(children, target, round, load, order)
        trials.push(trial)
        process.stderr.write(`${load}, ${connections} at a time, round ${round}: ${target.name} ${Math.round(trial.requestsPerSecond)}/s\n`)
      }
    }
  }
  return trials
}

await main()
