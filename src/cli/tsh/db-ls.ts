import { fetchDatabases } from '../../client/databases.ts'
import type { UsableDatabase } from '../../client/databases.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable, type Screen } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { descriptionOf, labelsOf, selectServers } from './select-servers.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const all = await withConnection(context, ({ api }) => fetchDatabases(api))
  const databases = selectServers(all, {
    labels: call.argument('labels'),
    words: call.list('search').flatMap((words) => words.split(/\s+/)),
    query: call.text('query'),
  })
  const format = formatOf(call)
  if (databases.length === 0 && format === 'text')
    return void io.stderr.write(
      all.length === 0
        ? 'There are no databases you may use now: ask an administrator for a role that allows one.\n'
        : 'None of your databases matches: tsh db ls without filters lists all.\n',
    )
  const isVerbose = call.flag('verbose')
  io.stdout.write(renderOutput(format, databases, (shown) => renderDatabases(shown, isVerbose, io)))
}

function renderDatabases(databases: readonly UsableDatabase[], isVerbose: boolean, screen: Screen): string {
  const rows = databases.map((database) => {
    const { users, names } = database
    return [
      database.metadata.name,
      descriptionOf(database),
      ...(isVerbose ? specOf(database) : []),
      renderPatterns(users),
      renderPatterns(names),
      renderLabels(database, isVerbose),
    ]
  })
  const heads = ['Name', 'Description', ...(isVerbose ? ['Protocol', 'URI'] : []), 'Allowed Users', 'Allowed Names', 'Labels']
  return renderTable(heads, rows, isVerbose ? {} : screen)
}

function renderPatterns({ allowed, denied }: UsableDatabase['users']): string {
  if (allowed.length === 0) return '(none)'
  return `[${allowed.join(' ')}]${denied.length > 0 ? ` except [${denied.join(' ')}]` : ''}`
}

function renderLabels(database: UsableDatabase, isVerbose: boolean): string {
  return Object.entries(labelsOf(database))
    .filter(([key]) => isVerbose || (!key.startsWith('teleport.internal/') && !key.startsWith('teleport.dev/')))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

function specOf({ spec }: UsableDatabase): [string, string] {
  const members: Record<string, unknown> = typeof spec === 'object' && spec !== null ? { ...spec } : {}
  const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
  return [textOf(members['protocol']), textOf(members['uri'])]
}
