import { fetchResource, fetchResources } from '../../client/admin.ts'
import type { StoredResource } from '../../client/admin.ts'
import { renderOutput, renderYamlDocuments } from '../../lib/output.ts'
import { renderTable, type Screen } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'
import { parseRefs, withFirstKind } from './refs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const refs = parseRefs(call.rest('refs'))
  const withSecrets = call.flag('with-secrets')
  const found = await withApi(async (api) => {
    const all: StoredResource[] = []
    for (const { kinds, name } of refs) {
      if (name !== undefined) all.push(await withFirstKind(api, { kinds, name }, (kind) => fetchResource(api, kind, name, { withSecrets })))
      else for (const kind of kinds) all.push(...(await fetchResources(api, kind, { withSecrets })))
    }
    return all
  })
  const format = formatOf(call)
  if (found.length === 0 && format !== 'json')
    return void io.stderr.write(`There is no ${refs.flatMap(({ kinds }) => kinds).join(', ')} here.\n`)
  io.stdout.write(format === 'yaml' ? renderYamlDocuments(found) : renderOutput(format, found, (shown) => renderText(shown, io)))
}

function renderText(resources: readonly StoredResource[], screen: Screen): string {
  const rows = resources.map(({ kind, metadata, spec }) => [
    kind,
    metadata.name,
    labelsOf(metadata),
    // A lock ends by its spec, and stays to be read.
    text(metadata['expires']) || (typeof spec === 'object' && spec !== null ? text(Reflect.get(spec, 'expires')) : ''),
    text(metadata['description']),
  ])
  return renderTable(['Kind', 'Name', 'Labels', 'Expires', 'Description'], rows, screen)
}

function labelsOf(metadata: StoredResource['metadata']): string {
  const labels = metadata['labels']
  return typeof labels !== 'object' || labels === null
    ? ''
    : Object.entries(labels)
        .map(([key, value]) => `${key}=${String(value)}`)
        .join(',')
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
