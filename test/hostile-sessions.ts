import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createStdioUpstream } from '../src/mcp/upstream/stdio.ts'
import { call, never } from './fakes/outgoing.ts'
import { listProcesses } from './fakes/processes.ts'
import { openAs, stdioApp, stdioDeps } from './fakes/stdio-app.ts'

/**
 * Opens sessions with a server that misbehaves, all at once, and ends them: what is left?
 * By hand: `node --expose-gc test/hostile-sessions.ts --sessions 500`.
 */

export const KINDS = ['fork', 'stubborn', 'garbage', 'stderr', 'silent'] as const

export interface Figures {
  kind: string
  /** Sessions that were opened; the others were refused. */
  opened: number
  /** How the first requests ended, by error code. */
  ended: Record<string, number>
  /** At the worst moment, and when all was over. */
  processes: { peak: number; left: number }
  openFiles: { before: number; after: number }
  rssMb: { before: number; peak: number; after: number }
  /** What is still referred to: the process keeps pages that it may need again. Exact with --expose-gc only. */
  heapMb: { before: number; after: number }
  seconds: number
}

const HOSTILE = fileURLToPath(new URL('fakes/hostile.sh', import.meta.url))

export async function playHostile(kind: (typeof KINDS)[number], sessions: number): Promise<Figures> {
  const mark = `--mark=hostile-${kind}-${process.pid}`
  const limits = { stopGraceMs: 300, initializeTimeoutMs: 1000 }
  const upstream = createStdioUpstream(stdioApp('/bin/sh', [HOSTILE, kind, mark]), await stdioDeps(limits))
  const marked = (): number => listProcesses().filter(({ command }) => command.includes(mark)).length
  const before = { files: countOpenFiles(), rss: rssMb(), heap: heapMb() }
  const peak = { processes: 0, rss: 0 }
  const watching = setInterval(() => {
    peak.processes = Math.max(peak.processes, marked())
    peak.rss = Math.max(peak.rss, rssMb(false))
  }, 250)
  const begun = performance.now()
  const ended: Record<string, number> = {}
  const opening = Array.from({ length: sessions }, () => upstream.open(openAs('legacy')).catch((error: unknown) => count(ended, error)))
  const opened = (await Promise.all(opening)).filter((session) => session !== undefined)
  const initialize = { ...call('1', 'echo'), method: 'initialize' }
  await Promise.all(
    opened.map((session) =>
      session
        .send(initialize, never)
        .catch((error: unknown) => count(ended, error))
        .finally(() => session.close()),
    ),
  )
  await upstream.close()
  clearInterval(watching)
  return {
    kind,
    opened: opened.length,
    ended,
    processes: { peak: peak.processes, left: marked() },
    openFiles: { before: before.files, after: countOpenFiles() },
    rssMb: { before: before.rss, peak: peak.rss, after: rssMb() },
    heapMb: { before: before.heap, after: heapMb() },
    seconds: Math.round((performance.now() - begun) / 1000),
  }
}

function count(ended: Record<string, number>, error: unknown): undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'other'
  ended[code] = (ended[code] ?? 0) + 1
}

function countOpenFiles(): number {
  return readdirSync('/proc/self/fd').length
}

function rssMb(isCollected = true): number {
  if (isCollected) globalThis.gc?.()
  return Math.round(process.memoryUsage().rss / 2 ** 20)
}

function heapMb(): number {
  return Math.round(process.memoryUsage().heapUsed / 2 ** 20)
}

if (import.meta.main) {
  const { sessions } = parseArgs({ options: { sessions: { type: 'string', default: '500' } } }).values
  for (const kind of KINDS) process.stdout.write(`${JSON.stringify(await playHostile(kind, Number(sessions)))}\n`)
}
