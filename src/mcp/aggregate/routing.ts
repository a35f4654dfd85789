import { AppError } from '../../lib/errors.ts'
import { parseExact } from '../../lib/json-scan.ts'
import { learnMirrors, mirrorHeaders, type Mirrors } from '../eras/mirrors.ts'
import { type ClientMessage, type Fields, fieldsOf } from '../message.ts'
import type { Catalogue } from './catalogue.ts'
import type { Channel, Forwarded } from './channel.ts'
import { findList } from './lists.ts'
import { CALL_TOOL } from './search.ts'
import { findParamText, replaceParams, replaceWithin } from './splice.ts'
import { findId, findUri, type Placed } from './uris.ts'
import type { Member, NamedKind, View } from './view.ts'

/** A request, and the member it is for. */
export interface Routed {
  member: Member
  message: Forwarded
}

export interface Router {
  view: View
  channel: Channel
  catalogue: Catalogue
}

type Route = (message: ClientMessage, router: Router) => Promise<Routed>

/** How a request says which member it is for. A method without a row is for none. */
const ROUTES: Readonly<Record<string, Route>> = {
  'tools/call': (message, router) => byName('tool', message, router),
  'prompts/get': (message, router) => byName('prompt', message, router),
  'resources/read': byUri,
  'resources/subscribe': byUri,
  'resources/unsubscribe': byUri,
  'completion/complete': byReference,
  'skills/get': byUri,
  'resources/directory/read': byUri,
  'tasks/get': byTask,
  'tasks/update': byTask,
  'tasks/result': byTask,
  'tasks/cancel': byTask,
}

/**
 * The member that a request is for, and the request as that member knows it: names, URIs and ids of tasks are the server's own, all else to
 * the letter. Undefined for a method that is for none.
 * @throws AppError invalid_argument, to be answered in band, when there is no such thing here.
 */
export async function route(message: ClientMessage, router: Router): Promise<Routed | undefined> {
  return Object.hasOwn(ROUTES, message.method) ? ROUTES[message.method]?.(message, router) : undefined
}

/** The call that a call of `call_tool` stands for. @throws as `route` */
export async function routeInnerCall(message: ClientMessage, router: Router): Promise<Routed> {
  const inner = fieldsOf(message.params['arguments'])
  const exposed = inner?.['name']
  if (typeof exposed !== 'string') throw refused(`${CALL_TOOL} needs "name": the name of a tool that search_tools found`)
  const { member, original } = await findTarget('tool', exposed, router)
  const args = findParamText(message.bytes, 'arguments', 'arguments') ?? '{}'
  const bytes = replaceParams(message.bytes, { name: JSON.stringify(original), arguments: args })
  const tools = findList('tools/list')
  const entry = tools && router.catalogue.findEntry(tools, router.channel, member.name, exposed)
  const headers = entry ? mirrorsOf({ ...entry.item, name: original }, parseExact(args)) : {}
  return { member, message: { bytes, method: message.method, name: original, headers } }
}

/** The member of this name. @throws AppError invalid_argument */
export async function findMember(server: string, view: View): Promise<Member | undefined> {
  return (await view.members()).find(({ name }) => name === server)
}

async function byName(what: NamedKind, message: ClientMessage, router: Router): Promise<Routed> {
  const { name } = message.params
  const { member, original } = await findTarget(what, typeof name === 'string' ? name : '', router)
  const bytes = original === name ? message.bytes : replaceParams(message.bytes, { name: JSON.stringify(original) })
  return { member, message: { bytes, method: message.method, name: original } }
}

async function findTarget(
  what: NamedKind,
  exposed: string,
  { view, channel, catalogue }: Router,
): Promise<{ member: Member; original: string }> {
  const target = await view.findName(what, exposed)
  const member = target && (await findMember(target.server, view))
  const isShown = target && (what !== 'tool' || (view.includesTool?.(target.server, target.original) ?? true))
  if (!member || !isShown) throw refused(`no ${what} ${JSON.stringify(exposed.slice(0, 100))} is here: list them again`)
  const row = findList(`${what}s/list`)
  const why = row && catalogue.findQuarantined(row, channel, target.server, target.original)
  if (why !== undefined)
    throw refused(`the ${what} ${JSON.stringify(exposed.slice(0, 100))} of "${target.server}" is in quarantine: ${why}`)
  return { member, original: target.original }
}

async function byUri(message: ClientMessage, router: Router): Promise<Routed> {
  const { uri } = message.params
  const { member, original } = await placedMember(uri, typeof uri === 'string' ? findUri(uri) : undefined, router)
  return {
    member,
    message: { bytes: replaceParams(message.bytes, { uri: JSON.stringify(original) }), method: message.method, name: original },
  }
}

async function placedMember(
  uri: unknown,
  placed: Placed | undefined,
  { view, channel }: Router,
): Promise<{ member: Member; original: string }> {
  const member = placed && (await findMember(placed.server, view))
  if (member) return { member, original: placed.original }
  // 2025-11-25, Resources, Error Handling; 2026-07-28, Resources, Error Handling.
  const rpc = channel.era === 'legacy' ? -32002 : -32602
  throw refused('no such resource is here', rpc, { uri: typeof uri === 'string' ? uri.slice(0, 1000) : '' })
}

async function byReference(message: ClientMessage, router: Router): Promise<Routed> {
  const ref = fieldsOf(message.params['ref'])
  const replaced = async (member: Member, values: Fields): Promise<Routed> => {
    const bytes = replaceWithin(message.bytes, 'ref', (fields) => ({ ...fields, ...values }))
    return { member, message: { bytes, method: message.method } }
  }
  if (ref?.['type'] === 'ref/prompt') {
    const name = ref['name']
    const { member, original } = await findTarget('prompt', typeof name === 'string' ? name : '', router)
    return replaced(member, { name: original })
  }
  const uri = ref?.['uri']
  const { member, original } = await placedMember(uri, typeof uri === 'string' ? findUri(uri) : undefined, router)
  return replaced(member, { uri: original })
}

async function byTask(message: ClientMessage, { view }: Router): Promise<Routed> {
  const { taskId } = message.params
  const placed = typeof taskId === 'string' ? findId(taskId) : undefined
  const member = placed && (await findMember(placed.server, view))
  if (!member) throw refused('no such task is here')
  const bytes = replaceParams(message.bytes, { taskId: JSON.stringify(placed.original) })
  return { member, message: { bytes, method: message.method, name: placed.original } }
}

/** A call that we make of another one repeats its arguments in headers as its client would have (2026-07-28, Streamable HTTP). */
function mirrorsOf(tool: Fields, args: unknown): Record<string, string> {
  const mirrors: Mirrors = new Map()
  learnMirrors(mirrors, [tool])
  return mirrorHeaders(mirrors, { name: tool['name'], arguments: args })
}

/** An error in the answer to a request that was understood. */
export function refused(message: string, rpc = -32602, facts?: Fields): AppError {
  return new AppError('invalid_argument', message, { details: { http: 200, rpc, ...(facts && { data: facts }) } })
}
