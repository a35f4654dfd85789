import { setTimeout as delay } from 'node:timers/promises'
import { fetchAllEvents } from '../../client/audit.ts'
import { escapeControls, sanitizeTerminal } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import { parseLine, renderEvent } from './audit-table.ts'
import type { AuditRecord } from './audit-table.ts'
import { readFilter, readLimit } from './audit-filter.ts'
import type { Context } from './context.ts'

const POLL_MS = 1000

/** Follows the chain by its numbers, not by time: what comes late, or took long, is shown too, and nothing twice. */
export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const filter = readFilter(call, now())
  const json = formatOf(call) === 'json'
  // Byte for byte what was hashed, unless a terminal would act on it.
  const render = (line: string) => (json ? (io.isTTY ? escapeControls(line) : line) : sanitizeTerminal(renderEvent(parseLine(line))))
  let lastSeq = 0
  const show = (line: string) => {
    io.stdout.write(`${render(line)}\n`)
    lastSeq = Math.max(lastSeq, seqOf(parseLine(line)))
  }
  await withApi(async (api) => {
    const latest: string[] = []
    for await (const line of fetchAllEvents(api, { ...filter, order: 'desc' }, { limit: readLimit(call) })) latest.push(line)
    for (const line of latest.reverse()) show(line)
    while (call.flag('follow') && !call.signal.aborted) {
      await delay(POLL_MS, undefined, { signal: call.signal }).catch(() => {}) // an interruption ends the loop
      for await (const line of fetchAllEvents(api, { ...filter, order: 'asc' }, { after: lastSeq })) show(line)
    }
  })
}

function seqOf(event: AuditRecord): number {
  const chain = event['chain']
  return typeof chain === 'object' && chain !== null && 'seq' in chain && typeof chain.seq === 'number' ? chain.seq : 0
}
