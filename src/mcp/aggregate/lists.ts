import type { ListKind } from '../list-kinds.ts'

/** What a list of the protocol is made of. */
export interface ListRow {
  method: string
  /** The member of the result that holds the list. */
  in: string
  /** The member of an item that names it. */
  by: 'name' | 'uri' | 'uriTemplate' | 'taskId'
  /** Whose absence from a server's capabilities means that there is no such list. */
  capability: string
  /** Whether clients insist on a `name` beside it. */
  needsName?: boolean
  /** What is told when it changes. */
  changes: ListKind | undefined
}

const ROWS: readonly ListRow[] = [
  { method: 'tools/list', in: 'tools', by: 'name', capability: 'tools', changes: 'tools' },
  { method: 'prompts/list', in: 'prompts', by: 'name', capability: 'prompts', changes: 'prompts' },
  { method: 'resources/list', in: 'resources', by: 'uri', capability: 'resources', needsName: true, changes: 'resources' },
  {
    method: 'resources/templates/list',
    in: 'resourceTemplates',
    by: 'uriTemplate',
    capability: 'resources',
    needsName: true,
    changes: 'resources',
  },
  { method: 'tasks/list', in: 'tasks', by: 'taskId', capability: 'tasks', changes: undefined },
  // The extension io.modelcontextprotocol/skills: a skill is a resource with an index.
  { method: 'skills/list', in: 'skills', by: 'uri', capability: 'extensions', changes: undefined },
]

const BY_METHOD: ReadonlyMap<string, ListRow> = new Map(ROWS.map((row) => [row.method, row]))

export function findList(method: string): ListRow | undefined {
  return BY_METHOD.get(method)
}

/** The methods of lists that change together. */
export function methodsOf(kind: ListKind): string[] {
  return ROWS.filter(({ changes }) => changes === kind).map(({ method }) => method)
}
