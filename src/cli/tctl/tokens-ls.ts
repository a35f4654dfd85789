import { fetchResources } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import type { Context } from './context.ts'
import { formatOf } from './format.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const tokens = await withApi((api) => fetchResources(api, 'token', { withSecrets: call.flag('with-secrets') }))
  const format = formatOf(call)
  if (tokens.length === 0 && format === 'text') return void io.stderr.write('No active tokens found: tctl tokens add makes one.\n')
  io.stdout.write(
    renderOutput(format, tokens, (items) => {
      const rows = items.map(({ metadata, spec }) => [
        metadata.name,
        words(spec, 'roles'),
        pairs(spec),
        typeof metadata['expires'] === 'string' ? metadata['expires'] : 'never',
      ])
      return renderTable(['Token', 'Type', 'Labels', 'Expiry Time (UTC)'], rows)
    }),
  )
}

function words(spec: unknown, name: string): string {
  const value: unknown = typeof spec === 'object' && spec !== null ? Reflect.get(spec, name) : undefined
  return Array.isArray(value) ? value.map(String).join(',') : ''
}

function pairs(spec: unknown): string {
  const labels: unknown = typeof spec === 'object' && spec !== null ? Reflect.get(spec, 'suggested_labels') : undefined
  return typeof labels === 'object' && labels !== null
    ? Object.entries(labels)
        .map(([key, value]) => `${key}=${String(value)}`)
        .join(',')
    : ''
}
