import { cpus, totalmem } from 'node:os'
import type { Trial } from './trial.ts'

export interface Summary {
  target: string
  load: string
  concurrency: number
  rounds: number
  requestsPerSecond: Spread
  /** Calls per second as a share of another target's, by its name: median over the rounds of the ratio within one round. */
  of: Readonly<Record<string, number>>
  p50us: number
  p99us: number
  /** Median over the rounds of p50 less that of direct in the same round. */
  addedP50us: number | null
  /** The same as a multiple of what the bare piped proxy adds in that round. */
  addedOfPipe: number | null
  cpuUsPerCall: number
  /** With the work left over when the last answer was out, which is to bring the audit events into the store. */
  settledCpuUsPerCall: number
  settleMs: number
  residentMb: number
}

/** Median and range over the rounds. */
interface Spread {
  median: number
  min: number
  max: number
}

export function summarise(trials: readonly Trial[]): Summary[] {
  const keyOf = ({ load, concurrency, target }: Trial): string => `${load} ${concurrency} ${target}`
  return [...Map.groupBy(trials, keyOf).values()].map((mine) => summariseOne(mine, trials))
}

function summariseOne(mine: readonly Trial[], all: readonly Trial[]): Summary {
  const [first] = mine
  if (!first) throw new Error('no trial')
  const { target, load, concurrency } = first
  const peersIn = ({ round }: Trial): Trial[] =>
    all.filter((one) => one.round === round && one.concurrency === concurrency && one.load === load)
  const find = (trial: Trial, name: string): Trial | undefined => peersIn(trial).find((one) => one.target === name)
  const names = [...new Set(mine.flatMap(peersIn).map((one) => one.target))]
  const ratioTo = (name: string): number => median(mine.flatMap((trial) => ratio(trial, find(trial, name))))
  const added = (trial: Trial): number[] => {
    const direct = find(trial, 'direct')
    return direct ? [trial.p50us - direct.p50us] : []
  }
  const addedOfPipe = mine.flatMap((trial) => {
    const pipe = find(trial, 'pipe')
    const [own] = added(trial)
    const [pipes] = pipe ? added(pipe) : []
    return own !== undefined && pipes !== undefined && pipes > 0 ? [own / pipes] : []
  })
  const middle = (pick: (trial: Trial) => number): number => median(mine.map(pick))
  const rates = mine.map(({ requestsPerSecond }) => requestsPerSecond)
  return {
    target,
    load,
    concurrency,
    rounds: mine.length,
    requestsPerSecond: { median: median(rates), min: Math.min(...rates), max: Math.max(...rates) },
    of: Object.fromEntries(names.map((name) => [name, ratioTo(name)])),
    p50us: middle(({ p50us }) => p50us),
    p99us: middle(({ p99us }) => p99us),
    addedP50us: mine.flatMap(added).length > 0 ? median(mine.flatMap(added)) : null,
    addedOfPipe: addedOfPipe.length > 0 ? median(addedOfPipe) : null,
    cpuUsPerCall: middle(({ cpuUsPerCall }) => cpuUsPerCall),
    settledCpuUsPerCall: middle(({ settledCpuUsPerCall }) => settledCpuUsPerCall),
    settleMs: middle(({ settleMs }) => settleMs),
    residentMb: Math.max(...mine.map(({ residentMb }) => residentMb)),
  }
}

function ratio(trial: Trial, reference: Trial | undefined): number[] {
  return reference ? [trial.requestsPerSecond / reference.requestsPerSecond] : []
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

const REFERENCES = ['direct', 'pipe', 'undici', 'nginx']

/** A table in Markdown for each load and concurrency. */
export function renderTables(summaries: readonly Summary[]): string {
  return [...Map.groupBy(summaries, ({ load, concurrency }) => `${load} answers, ${concurrency} at a time`)]
    .map(([title, rows]) => [`${title}:`, '', renderTable(rows)].join('\n'))
    .join('\n')
}

function renderTable(summaries: readonly Summary[]): string {
  const head = [
    'target',
    'calls/s median [min-max]',
    ...REFERENCES.map((name) => `of ${name}`),
    'p50 us',
    'p99 us',
    'added p50 us',
    'x pipe’s',
    'CPU us/call',
    'with settling',
    'settle ms',
    'RSS MB',
  ]
  const rows = summaries.map((one) => [
    one.target,
    `${whole(one.requestsPerSecond.median)} [${whole(one.requestsPerSecond.min)}-${whole(one.requestsPerSecond.max)}]`,
    ...REFERENCES.map((name) => share(one.of[name])),
    whole(one.p50us),
    whole(one.p99us),
    one.addedP50us === null ? '-' : whole(one.addedP50us),
    share(one.addedOfPipe ?? undefined),
    whole(one.cpuUsPerCall),
    whole(one.settledCpuUsPerCall),
    whole(one.settleMs),
    whole(one.residentMb),
  ])
  return renderRows(head, rows)
}

export function renderRows(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, index) => Math.max(title.length, ...rows.map((row) => row[index]?.length ?? 0)))
  const line = (cells: readonly string[]): string => `| ${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line), ''].join('\n')
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')

export function share(value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(value < 0.1 ? 3 : 2)
}

export function machine() {
  const [cpu] = cpus()
  return {
    cores: cpus().length,
    cpu: cpu?.model ?? '',
    memoryGb: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
  }
}
