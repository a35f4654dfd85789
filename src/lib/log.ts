import { pino } from 'pino'
import type { DestinationStream } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, unknown>>

/**
 * The log as the rest of the code sees it: one line of JSON a call. An Error among the fields is written with its causes; with its stack too,
 * where the line is an error or the log is for debugging: in a warning that repeats, such as that nothing listens, it hides what is said. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export interface LoggerOptions {
  /** The least severe level that is written; `info` without. */
  level?: LogLevel
  /** Standard error without. */
  stream?: DestinationStream
  /** Applied to the message and to every string among the fields, keys included. */
  redact?: (text: string) => string
  now?: () => number
}

/** Writes lines such as `{"level":"info","time":"2027-01-31T12:00:00.000Z","message":"…",…fields}`. */
export function createLogger({
  level = 'info',
  stream = process.stderr,
  redact = (text) => text,
  now = Date.now,
}: LoggerOptions = {}): Logger {
  const log = pino(
    {
      level,
      // No process id and host name: whoever collects the lines knows where they come from.
      base: null,
      messageKey: 'message',
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date(now()).toISOString()}"`,
    },
    stream,
  )
  const write = (at: LogLevel) => (message: string, fields?: LogFields) => {
    if (!log.isLevelEnabled(at)) return
    const withStack = at === 'error' || log.isLevelEnabled('debug')
    log[at](readFields(fields ?? {}, { redact, withStack }), redact(message))
  }
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

/** For whoever must be given a log but has none. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const MAX_DEPTH = 8
const MAX_ITEMS = 100
/** Names that the line itself uses: a field of that name would stand twice in it. */
const RESERVED = new Set(['level', 'time', 'message'])

interface Style {
  redact: (text: string) => string
  withStack: boolean
}

function readFields(fields: LogFields, style: Style): Record<string, unknown> {
  const read: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) read[RESERVED.has(key) ? `${key}_` : style.redact(key)] = readValue(value, style, MAX_DEPTH)
  }
  return read
}

/** A copy that JSON can hold, of bounded depth and length, redacted. */
function readValue(value: unknown, style: Style, depth: number): unknown {
  if (typeof value === 'string') return style.redact(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`
  if (depth === 0) return '[too deep]'
  if (value instanceof Error) return readError(value, style, depth)
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => readValue(item, style, depth - 1))
  const entries = Object.entries(value).slice(0, MAX_ITEMS)
  return Object.fromEntries(entries.map(([key, item]) => [style.redact(key), readValue(item, style, depth - 1)]))
}

function readError(error: Error, style: Style, depth: number): Record<string, unknown> {
  return {
    name: error.name,
    message: style.redact(error.message),
    ...('code' in error ? { code: readValue(error.code, style, depth - 1) } : {}),
    ...('details' in error && error.details !== undefined ? { details: readValue(error.details, style, depth - 1) } : {}),
    ...(error.stack === undefined || !style.withStack ? {} : { stack: style.redact(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: readValue(error.cause, style, depth - 1) }),
  }
}
