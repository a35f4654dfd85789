import { AppError } from './errors.ts'

export interface MetricRow {
  /** As Prometheus wants names: snake case, the unit at the end, `_total` for counters. */
  name: string
  help: string
  /** Names of labels; a series is told by their values. */
  labels?: readonly string[]
  /** So many series, 1000 unless told; more are counted as one, whose labels say `other`. */
  maxSeries?: number
}

/** One counter. Adding to `value` is all that it costs to count. */
export interface Count {
  value: number
}

export interface Histogram {
  observe(value: number): void
}

/** Values of the labels, in their order, and the number. */
export type Sample = readonly [labels: readonly string[], value: number]

/** What a process measures. Counting is cheap; text is made when somebody asks. */
export interface Metrics {
  /** The counter of these label values. Keep it where it is used often: finding it costs a lookup. */
  counter(row: MetricRow): (...labels: string[]) => Count
  /** `buckets` are upper bounds, ascending; everything above the last is counted too. */
  histogram(row: MetricRow & { buckets: readonly number[] }): (...labels: string[]) => Histogram
  /** A number, or one per label values, asked for when the text is made; a counter that somebody else counts when `isCounter`. */
  gauge(row: MetricRow & { isCounter?: boolean }, read: () => number | Iterable<Sample>): void
  /** The text format of Prometheus, version 0.0.4 (prometheus.io, exposition formats). */
  render(): string
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** @throws AppError internal, from the functions that add a metric, for a name that is taken or is no name. */
export function createMetrics(): Metrics {
  const families = new Map<string, () => string>()
  const add = (row: MetricRow, type: string, lines: () => Iterable<string>): void => {
    if (families.has(row.name) || ![row.name, ...(row.labels ?? [])].every((name) => NAME.test(name)))
      throw new AppError('internal', `metric "${row.name}" cannot be added`)
    const head = `# HELP ${row.name} ${escapeHelp(row.help)}\n# TYPE ${row.name} ${type}\n`
    families.set(row.name, () => head + [...lines()].join(''))
  }
  return {
    counter(row) {
      const series = createSeries(row, (): Count => ({ value: 0 }))
      add(row, 'counter', () => series.list().map(({ labels, of }) => line(row.name, labels, of.value)))
      return series.find
    },
    histogram(row) {
      const series = createSeries(row, () => createBuckets(row.buckets))
      add(row, 'histogram', () => series.list().flatMap(({ labels, of }) => of.lines(row.name, labels)))
      return series.find
    },
    gauge(row, read) {
      add(row, row.isCounter ? 'counter' : 'gauge', () => {
        const now = read()
        const samples: Iterable<Sample> = typeof now === 'number' ? [[[], now]] : now
        return [...samples].map(([values, value]) => line(row.name, renderLabels(row.labels ?? [], values), value))
      })
    },
    render: () => [...families.values()].map((family) => family()).join(''),
  }
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const MAX_SERIES = 1000
const OTHER = 'other'

interface Series<T> {
  find(...values: string[]): T
  list(): { labels: string; of: T }[]
}

/** Label values come from outside: however many there are, memory is bounded. */
function createSeries<T>({ labels: names = [], maxSeries = MAX_SERIES }: MetricRow, make: () => T): Series<T> {
  const known = new Map<string, { labels: string; of: T }>()
  const find = (...values: string[]): T => {
    const key = values.join('\0')
    const found = known.get(key)
    if (found) return found.of
    if (known.size >= maxSeries && values.some((value) => value !== OTHER)) return find(...names.map(() => OTHER))
    const made = { labels: renderLabels(names, values), of: make() }
    known.set(key, made)
    return made.of
  }
  return { find, list: () => [...known.values()] }
}

interface Buckets extends Histogram {
  lines(name: string, labels: string): string[]
}

function createBuckets(bounds: readonly number[]): Buckets {
  /** How many fell into each bucket; the last is for what is above all bounds. */
  const counts = new Float64Array(bounds.length + 1)
  let sum = 0
  return {
    observe(value) {
      let index = 0
      while (index < bounds.length && value > (bounds[index] ?? 0)) index++
      counts[index] = (counts[index] ?? 0) + 1
      sum += value
    },
    lines(name, labels) {
      let total = 0
      const buckets = [...counts].map((count, index) => {
        total += count
        const bound = `le="${bounds[index] ?? '+Inf'}"`
        return line(`${name}_bucket`, labels === '' ? bound : `${labels},${bound}`, total)
      })
      return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, total)]
    },
  }
}

function renderLabels(names: readonly string[], values: readonly string[]): string {
  return names.map((name, index) => `${name}="${escapeValue(values[index] ?? '')}"`).join(',')
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === '' ? '' : `{${labels}}`} ${renderNumber(value)}\n`
}

function renderNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  return Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function escapeValue(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"')
}
