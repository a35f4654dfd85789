import { fetchResource, fetchResources } from '../../client/admin.ts'
import { renderOutput, renderYamlDocuments } from '../../lib/output.ts'
import type { Host } from '../../resources/host.ts'
import { parseResource } from '../../resources/registry.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

/** A host that was not seen for longer is taken for one that is off. */
const SILENT_MS = 5 * 60_000

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const id = call.argument('host')
  const format = formatOf(call)
  if (id !== undefined) {
    const host = await withApi((api) => fetchResource(api, 'host', id))
    return void io.stdout.write(format === 'json' ? renderOutput(format, host, () => '') : renderYamlDocuments([host]))
  }
  const hosts = (await withApi((api) => fetchResources(api, 'host'))).map((host) => parseResource('host', host))
  const summary = {
    hosts: hosts.length,
    seen_lately: hosts.filter(({ status }) => now() - Date.parse(status.last_seen) < SILENT_MS).length,
    versions: count(hosts, ({ status }) => [status.version ?? 'unknown']),
    services: count(hosts, ({ status }) => status.services),
  }
  io.stdout.write(
    renderOutput(format, summary, ({ versions, services }) =>
      [
        `Hosts: ${summary.hosts}, of which ${summary.seen_lately} were seen in the last five minutes`,
        'Versions:',
        ...Object.entries(versions).map(([version, times]) => `  ${version}: ${times}`),
        'Services:',
        ...Object.entries(services).map(([service, times]) => `  ${service}: ${times}`),
      ].join('\n'),
    ),
  )
}

function count(hosts: readonly Host[], wordsOf: (host: Host) => readonly string[]): Record<string, number> {
  const counts = new Map<string, number>()
  for (const word of hosts.flatMap(wordsOf)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
