import { fetchResources } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import type { BotInstance } from '../../resources/bot-instance.ts'
import { parseResource } from '../../resources/registry.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const bot = call.argument('bot')
  const all = (await withApi((api) => fetchResources(api, 'bot_instance'))).map((one) => parseResource('bot_instance', one))
  const instances = all.filter(({ spec }) => bot === undefined || spec.bot_name === bot)
  const format = formatOf(call)
  if (instances.length === 0 && format === 'text') return void io.stdout.write('No bot instances found\n')
  io.stdout.write(
    renderOutput(format, instances, (items) =>
      renderTable(
        ['ID', 'Join Method', 'Version', 'Hostname', 'Joined', 'Last Seen', 'Generation', 'Certificate Expires'],
        items.map(({ spec, status }) => [
          `${spec.bot_name}/${spec.instance_id}`,
          status.join_method,
          status.latest_heartbeats?.at(-1)?.version ?? '',
          status.latest_heartbeats?.at(-1)?.hostname ?? status.initial_authentication.hostname ?? '',
          status.initial_authentication.authenticated_at,
          lastSeen(status),
          status.renewable ? `${status.generation}` : 'n/a',
          status.certificate_expires,
        ]),
        io,
      ),
    ),
  )
}

function lastSeen({ latest_authentications, latest_heartbeats = [] }: BotInstance['status']): string {
  const times = [latest_authentications.at(-1)?.authenticated_at ?? '', latest_heartbeats.at(-1)?.recorded_at ?? '']
  return times.toSorted().at(-1) ?? ''
}
