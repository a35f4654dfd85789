import { setTimeout as delay } from 'node:timers/promises'
import { fetchAllEvents } from '../../client/audit.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { parseLine, renderEvent } from './audit-table.ts'
import { readFilter, readLimit } from './audit-filter.ts'
import type { Context } from './context.ts'
import { formatOf } from './format.ts'

const POLL_MS = 1000
/** Clocks of services differ and batches come late: each look goes back this far and leaves out what was shown. */
const OVERLAP_MS = 60_000

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const filter = readFilter(call, now())
  const json = formatOf(call) === 'json'
  let shown = new Set<string>()
  const show = (line: string) => void io.stdout.write(json ? `${line}\n` : `${sanitizeTerminal(renderEvent(parseLine(line)))}\n`)
  await withApi(async (api) => {
    const latest: string[] = []
    for await (const line of fetchAllEvents(api, { ...filter, order: 'desc' }, readLimit(call))) latest.push(line)
    for (const line of latest.reverse()) show(line)
    shown = new Set(latest)
    let since = now()
    while (call.flag('follow') && !call.signal.aborted) {
      await delay(POLL_MS, undefined, { signal: call.signal }).catch(() => {}) // an interruption ends the loop
      const from = new Date(since - OVERLAP_MS).toISOString()
      since = now()
      const seen = new Set<string>()
      for await (const line of fetchAllEvents(api, { ...filter, from, order: 'asc' })) {
        if (!shown.has(line)) show(line)
        seen.add(line)
      }
      shown = seen.union(shown.size > 10_000 ? new Set<string>() : shown)
    }
  })
}
