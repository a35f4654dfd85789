import { fetchResources } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Token } from '../../resources/token.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const stored = await withApi((api) => fetchResources(api, 'token', { withSecrets: call.flag('with-secrets') }))
  const tokens = stored.map((token) => parseResource('token', token))
  const format = formatOf(call)
  if (tokens.length === 0 && format === 'text') return void io.stderr.write('No active tokens found: tctl tokens add makes one.\n')
  io.stdout.write(
    renderOutput(format, tokens, (items) =>
      renderTable(
        ['Token', 'Type', 'Labels', 'Expiry Time (UTC)', 'Join Method', 'Known As'],
        items.map((token) => [
          token.metadata.name,
          token.spec.roles.join(','),
          labelsOf(token),
          token.metadata.expires ?? 'never',
          token.spec.join_method,
          // How certificates, events and locks name it.
          token.status?.safe_name ?? token.metadata.name,
        ]),
        io,
      ),
    ),
  )
}

function labelsOf({ spec }: Token): string {
  return Object.entries(spec.suggested_labels ?? {})
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(',')
}
