import { parseDuration } from '../../lib/duration.ts'
import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { App } from '../../resources/app.ts'
import type { LabelCommand } from './label-command.ts'

export interface DynamicLabelOptions {
  run: LabelCommand
  /** Runs something once, after so many ms, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
  log: Logger
}

const MIN_PERIOD_MS = 1000
const MAX_PERIOD_MS = 24 * 3_600_000

/** Whether some labels of this server are what commands say. */
export function hasDynamicLabels(app: App): boolean {
  return Object.keys(app.spec.dynamic_labels ?? {}).length > 0
}

/**
 * Runs the commands of a server's dynamic labels, each again and again. `onChange` is given the server with their results, for the first time when
 * every command has had one: without all its labels nobody can say who may use it. A command that fails is logged, and the result of before stays.
 * @returns what ends it.
 */
export function followLabels(app: App, { run, after, log }: DynamicLabelOptions, onChange: (app: App) => void): () => void {
  const labels = app.spec.dynamic_labels ?? {}
  const results = new Map<string, string>()
  const waits = new Map<string, () => void>()
  let isStopped = false

  const take = (key: string, result: string): void => {
    const before = results.get(key)
    results.set(key, result)
    if (before !== result && results.size === Object.keys(labels).length) onChange(withResults(app, results))
  }
  const follow = async (key: string, command: readonly string[], periodMs: number): Promise<void> => {
    try {
      const result = await run(command)
      if (!isStopped) take(key, result)
    } catch (thrown) {
      log.warn('the command of a dynamic label failed', { app: app.metadata.name, label: key, error: toAppError(thrown).message })
    }
    if (!isStopped)
      waits.set(
        key,
        after(periodMs, () => void follow(key, command, periodMs)),
      )
  }

  for (const [key, { command, period }] of Object.entries(labels)) {
    void follow(key, command, Math.min(Math.max(parseDuration(period), MIN_PERIOD_MS), MAX_PERIOD_MS))
  }
  return () => {
    isStopped = true
    for (const cancel of waits.values()) cancel()
  }
}

function withResults(app: App, results: ReadonlyMap<string, string>): App {
  const labels = Object.entries(app.spec.dynamic_labels ?? {}).map(
    ([key, label]) => [key, { ...label, result: results.get(key) ?? '' }] as const,
  )
  return { ...app, spec: { ...app.spec, dynamic_labels: Object.fromEntries(labels) } }
}
