import { fetchResources } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { parseResource } from '../../resources/registry.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const wanted = call.list('services')
  const all = (await withApi((api) => fetchResources(api, 'host'))).map((host) => parseResource('host', host))
  const hosts = all.filter(({ status }) => wanted.length === 0 || status.services.some((service) => wanted.includes(service)))
  const format = formatOf(call)
  if (hosts.length === 0 && format === 'text') return void io.stderr.write('No hosts found.\n')
  io.stdout.write(
    renderOutput(format, hosts, (items) =>
      renderTable(
        ['Server ID', 'Hostname', 'Services', 'Agent Version', 'Joined By', 'Last Seen'],
        items.map(({ metadata, spec, status }) => [
          metadata.name,
          spec.hostname,
          status.services.join(','),
          status.version ?? '',
          [status.join_method, status.join_token].filter(Boolean).join(' '),
          status.last_seen,
        ]),
        io,
      ),
    ),
  )
}
