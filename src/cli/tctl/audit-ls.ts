import { fetchAllEvents } from '../../client/audit.ts'
import { renderOutput } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import { parseLine, renderEvents } from './audit-table.ts'
import type { AuditRecord } from './audit-table.ts'
import { readFilter, readLimit } from './audit-filter.ts'
import type { Context } from './context.ts'

export const run = (context: Context): Promise<void> => listEvents(context, undefined)

/** The newest events that match, oldest of them first. */
export async function listEvents({ call, io, now, withApi }: Context, text: string | undefined): Promise<void> {
  const events = await withApi(async (api) => {
    const found: AuditRecord[] = []
    for await (const line of fetchAllEvents(api, { ...readFilter(call, now()), text, order: 'desc' }, { limit: readLimit(call) }))
      found.push(parseLine(line))
    return found.reverse()
  })
  const format = formatOf(call)
  if (events.length === 0 && format === 'text') return void io.stderr.write('No events match.\n')
  io.stdout.write(renderOutput(format, events, (shown) => renderEvents(shown, io)))
}
