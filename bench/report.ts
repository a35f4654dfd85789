import { cpus, totalmem } from 'node:os'
import type { Trial } from './trial.ts'

export interface Summary {
  target: string
  concurrency: number
  rounds: number
  /** Median and range over the rounds. */
  requestsPerSecond: Spread
  /** Median over the rounds of the ratio within one round. */
  ofDirect: number | null
  ofHttp: number | null
  ofUndici: number | null
  p50us: number
  p99us: number
  /** Median over the rounds of p50 less that of direct in the same round. */
  addedP50us: number | null
  cpuUsPerCall: number
  /** With the work left over when the last answer was out, which is to bring the audit events into the store. */
  settledCpuUsPerCall: number
  settleMs: number
  residentMb: number
}

interface Spread {
  median: number
  min: number
  max: number
}

export function summarise(trials: readonly Trial[]): Summary[] {
  const keys = [...new Set(trials.map(({ target, concurrency }) => `${concurrency} ${target}`))]
  return keys.map((key) =>
    summariseOne(
      trials.filter((trial) => `${trial.concurrency} ${trial.target}` === key),
      trials,
    ),
  )
}

function summariseOne(mine: readonly Trial[], all: readonly Trial[]): Summary {
  const [first] = mine
  if (!first) throw new Error('no trial')
  const { target, concurrency } = first
  const compared = (other: string, compare: (trial: Trial, reference: Trial) => number): number | null => {
    const values = mine.flatMap((trial) => {
      const reference = all.find((one) => one.target === other && one.round === trial.round && one.concurrency === concurrency)
      return reference ? [compare(trial, reference)] : []
    })
    return values.length === 0 ? null : median(values)
  }
  const rate = (trial: Trial): number => trial.requestsPerSecond
  const rates = mine.map(rate)
  const of = (other: string) => compared(other, (trial, reference) => rate(trial) / rate(reference))
  const middle = (pick: (trial: Trial) => number): number => median(mine.map(pick))
  return {
    target,
    concurrency,
    rounds: mine.length,
    requestsPerSecond: { median: median(rates), min: Math.min(...rates), max: Math.max(...rates) },
    ofDirect: of('direct'),
    ofHttp: of('http'),
    ofUndici: of('undici'),
    p50us: middle(({ p50us }) => p50us),
    p99us: middle(({ p99us }) => p99us),
    addedP50us: compared('direct', (trial, reference) => trial.p50us - reference.p50us),
    cpuUsPerCall: middle(({ cpuUsPerCall }) => cpuUsPerCall),
    settledCpuUsPerCall: middle(({ settledCpuUsPerCall }) => settledCpuUsPerCall),
    settleMs: middle(({ settleMs }) => settleMs),
    residentMb: Math.max(...mine.map(({ residentMb }) => residentMb)),
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** A table in Markdown for each concurrency. */
export function renderTables(summaries: readonly Summary[]): string {
  const concurrencies = [...new Set(summaries.map(({ concurrency }) => concurrency))]
  return concurrencies
    .map((concurrency) =>
      renderTable(
        concurrency,
        summaries.filter((summary) => summary.concurrency === concurrency),
      ),
    )
    .join('\n')
}

const HEAD = [
  'target',
  'calls/s median [min-max]',
  'of direct',
  'of http',
  'of undici',
  'p50 us',
  'p99 us',
  'added p50 us',
  'CPU us/call',
  'with settling',
  'settle ms',
  'RSS MB',
]

function renderTable(concurrency: number, summaries: readonly Summary[]): string {
  const rows = summaries.map((one) => [
    one.target,
    `${whole(one.requestsPerSecond.median)} [${whole(one.requestsPerSecond.min)}-${whole(one.requestsPerSecond.max)}]`,
    ratio(one.ofDirect),
    ratio(one.ofHttp),
    ratio(one.ofUndici),
    whole(one.p50us),
    whole(one.p99us),
    one.addedP50us === null ? '-' : whole(one.addedP50us),
    whole(one.cpuUsPerCall),
    whole(one.settledCpuUsPerCall),
    whole(one.settleMs),
    whole(one.residentMb),
  ])
  const widths = HEAD.map((title, index) => Math.max(title.length, ...rows.map((row) => row[index]?.length ?? 0)))
  const line = (cells: readonly string[]): string => `| ${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`
  return [`${concurrency} at a time:`, '', line(HEAD), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line), ''].join('\n')
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
const ratio = (value: number | null): string => (value === null ? '-' : value.toFixed(value < 0.1 ? 3 : 2))

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
