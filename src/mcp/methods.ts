import { type Fields, fieldsOf } from './message.ts'

export type Subject = 'tool' | 'resource' | 'prompt'

/** A thing that a request names; each one has to be allowed. `args` only for a tool that is called. */
export interface Named {
  what: Subject
  name: string
  args?: unknown
}

export interface MethodRow {
  /** What the parameters name. Absent: nothing that roles speak of. */
  names?: (params: Fields) => Named[]
  /** The list in the result, and the member of its items that names them. */
  lists?: { what: Subject; in: string; by: string }
  /** The member that the header `Mcp-Name` repeats (2026-07-28, Streamable HTTP). */
  header?: 'name' | 'uri' | 'taskId'
  /** It is answered when one of the sides goes, and a gateway that goes down does not wait for it. */
  endless?: true
  /** Its result says what the server has. */
  offers?: true
  audit: 'always' | 'on-error'
}

const named =
  (what: Subject, member: 'name' | 'uri') =>
  (params: Fields): Named[] => [{ what, name: text(params[member]) }]

/**
 * Every request of every revision and extension, client to server. A method without a row is refused unless a role names it in
 * `mcp.methods`: what is not known here could name a tool in a way that no role was asked about.
 */
export const METHODS: Readonly<Record<string, MethodRow>> = {
  initialize: { offers: true, audit: 'always' },
  'server/discover': { offers: true, audit: 'on-error' },
  ping: { audit: 'on-error' },
  'tools/list': { lists: { what: 'tool', in: 'tools', by: 'name' }, audit: 'on-error' },
  'tools/call': {
    // Present even when absent: a call without arguments is judged as a call, not as a look at the list.
    names: (params) => [{ what: 'tool', name: text(params['name']), args: params['arguments'] ?? {} }],
    header: 'name',
    audit: 'always',
  },
  'prompts/list': { lists: { what: 'prompt', in: 'prompts', by: 'name' }, audit: 'on-error' },
  'prompts/get': { names: named('prompt', 'name'), header: 'name', audit: 'always' },
  'resources/list': { lists: { what: 'resource', in: 'resources', by: 'uri' }, audit: 'on-error' },
  'resources/templates/list': { lists: { what: 'resource', in: 'resourceTemplates', by: 'uriTemplate' }, audit: 'on-error' },
  'resources/read': { names: named('resource', 'uri'), header: 'uri', audit: 'always' },
  'resources/subscribe': { names: named('resource', 'uri'), audit: 'always' },
  'resources/unsubscribe': { names: named('resource', 'uri'), audit: 'always' },
  'completion/complete': { names: completionReference, audit: 'always' },
  'logging/setLevel': { audit: 'always' },
  // Listening to tasks (`taskIds`) needs what asking for them needs: see below.
  'subscriptions/listen': { names: listenedResources, endless: true, audit: 'always' },
  // Tasks, in the core of 2025-11-25 and as an extension since. A task was made by a `tools/call` that was judged, and whoever knows its
  // unguessable id and may use the server may ask for it; to compare its caller is the server's part. Ids name nothing that roles speak of.
  'tasks/get': { header: 'taskId', audit: 'always' },
  'tasks/update': { header: 'taskId', audit: 'always' },
  'tasks/result': { audit: 'always' },
  'tasks/list': { audit: 'always' },
  'tasks/cancel': { header: 'taskId', audit: 'always' },
  // Skills (extension io.modelcontextprotocol/skills): resources with an index. A skill is its SKILL.md: whoever may read that sees the entry,
  // whole, for clients compare its list of files with what they got. Each file, and each directory, is a resource of its own.
  'skills/list': { lists: { what: 'resource', in: 'skills', by: 'uri' }, audit: 'on-error' },
  'skills/get': { names: named('resource', 'uri'), audit: 'always' },
  'resources/directory/read': {
    names: named('resource', 'uri'),
    lists: { what: 'resource', in: 'resources', by: 'uri' },
    audit: 'always',
  },
  // Apps (extension io.modelcontextprotocol/ui) have no methods of their own: a tool for the page alone (`_meta.ui.visibility`) is a tool, and
  // a page (`ui://…`) a resource, listed or not.
}

/** Notifications a client may send without a role that names them; none of them names anything that roles speak of. */
export const NOTIFICATIONS: ReadonlySet<string> = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
  'notifications/tasks/status',
  'notifications/elicitation/complete',
])

export function findMethod(method: string): MethodRow | undefined {
  return Object.hasOwn(METHODS, method) ? METHODS[method] : undefined
}

/** Methods and notifications with a row, as letters alone: `ToolsCall`, `tools//call` and `tools/call` are the same to servers that are not strict. */
const KNOWN_LETTERS: ReadonlySet<string> = new Set([...Object.keys(METHODS), ...NOTIFICATIONS].map(lettersOf))

/** Whether a name is that of a known method, or written so much like one that a server may take it for it. */
export function resemblesKnown(method: string): boolean {
  return KNOWN_LETTERS.has(lettersOf(method))
}

function lettersOf(method: string): string {
  return method
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^a-z]/g, '')
}

/** `ref/prompt` names a prompt, `ref/resource` a resource or a template; anything else names nothing that could be allowed. */
function completionReference(params: Fields): Named[] {
  const ref = fieldsOf(params['ref'])
  if (ref?.['type'] === 'ref/prompt') return [{ what: 'prompt', name: text(ref['name']) }]
  return [{ what: 'resource', name: text(ref?.['uri']) }]
}

function listenedResources(params: Fields): Named[] {
  const uris = fieldsOf(params['notifications'])?.['resourceSubscriptions']
  return Array.isArray(uris) ? uris.map((uri) => ({ what: 'resource' as const, name: text(uri) })) : []
}

/** A name that is no string is judged as the empty name: only a rule for everything allows it. */
function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
