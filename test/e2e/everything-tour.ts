import { randomUUID } from 'node:crypto'
import { eventually } from '../wait.ts'
import type { Guest } from './everything-guest.ts'

/** Sensible arguments for every tool of the Everything server. A tool without a row fails the tour. */
const ARGUMENTS: Record<string, Record<string, unknown>> = {
  echo: { message: 'hello, wörld' },
  'get-annotated-message': { messageType: 'error', includeImage: true },
  'get-env': {},
  'get-resource-links': { count: 3 },
  'get-resource-reference': { resourceType: 'Blob', resourceId: 2 },
  'get-structured-content': { location: 'Chicago' },
  'get-sum': { a: 2, b: 40.5 },
  'get-tiny-image': {},
  'gzip-file-as-resource': { data: 'data:text/plain,aaaaaaaaaa', outputType: 'resource' },
  'toggle-simulated-logging': {},
  'toggle-subscriber-updates': {},
  'trigger-long-running-operation': { duration: 0.1, steps: 2 },
  'get-roots-list': {},
  'trigger-elicitation-request': {},
  'trigger-url-elicitation': { url: 'https://example.com/sign-in', elicitationId: 'one' },
  'trigger-sampling-request': { prompt: 'say something', maxTokens: 10 },
  'trigger-sampling-request-async': { prompt: 'say something' },
  'trigger-elicitation-request-async': {},
}
const TASKS: Record<string, Record<string, unknown>> = { 'simulate-research-query': { topic: 'doors' } }
/** Called by themselves below: their effect is a notification. */
const TOGGLES = new Set(['toggle-simulated-logging', 'toggle-subscriber-updates'])

const PROMPTS: Record<string, Record<string, string>> = {
  'simple-prompt': {},
  'args-prompt': { city: 'Ulm', state: 'Baden' },
  'completable-prompt': { department: 'Sales', name: 'Eve' },
  'resource-prompt': { resourceType: 'Text', resourceId: '1' },
}

/** Uses everything that the Everything server has; what came back by what was asked, without what differs from run to run. */
export async function tour(guest: Guest): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = { server: guest.serverInfo() }
  await tourTools(guest, seen)
  await tourPrompts(guest, seen)
  await tourResources(guest, seen)
  await tourNotifications(guest, seen)
  await tourCancellation(guest, seen)
  return normalise(seen)
}

async function tourTools(guest: Guest, seen: Record<string, unknown>): Promise<void> {
  const listed = await guest.listTools()
  seen['tools/list'] = listed
  for (const { name } of listed.tools) {
    if (TOGGLES.has(name)) continue
    // The HTTP server keeps made files for all its sessions together.
    const args = name === 'gzip-file-as-resource' ? { ...ARGUMENTS[name], name: randomUUID() } : ARGUMENTS[name]
    const task = TASKS[name]
    if (args) {
      const result = await guest.callTool(name, args)
      // What the environment is depends on who started the server.
      seen[`tool ${name}`] = name === 'get-env' ? 'an environment' : result
    } else if (task) {
      if (guest.callAsTask) seen[`tool ${name}`] = await guest.callAsTask(name, task)
    } else {
      throw new Error(`the tour has no arguments for the tool ${name}`)
    }
  }
  seen['failing tool'] = await guest.callTool('get-sum', { a: 'no number' }).catch((error: unknown) => String(error))
  seen['unknown tool'] = await guest.callTool('no-such-tool', {}).catch((error: unknown) => String(error))
}

async function tourPrompts(guest: Guest, seen: Record<string, unknown>): Promise<void> {
  const listed = await guest.listPrompts()
  seen['prompts/list'] = listed
  for (const { name } of listed.prompts) {
    const args = PROMPTS[name]
    if (!args) throw new Error(`the tour has no arguments for the prompt ${name}`)
    seen[`prompt ${name}`] = await guest.getPrompt(name, args)
  }
  seen['completion'] = await guest.complete('completable-prompt', 'department', 'S')
  seen['completion in context'] = await guest.complete('completable-prompt', 'name', '', { department: 'Engineering' })
}

async function tourResources(guest: Guest, seen: Record<string, unknown>): Promise<void> {
  const listed = await guest.listResources()
  seen['resources/list'] = listed
  seen['resources/templates/list'] = await guest.listResourceTemplates()
  for (const { uri } of listed.resources) seen[`resource ${uri}`] = await guest.readResource(uri)
  for (const uri of ['demo://resource/dynamic/text/7', 'demo://resource/dynamic/blob/8'])
    seen[`resource ${uri}`] = await guest.readResource(uri)
  seen['unknown resource'] = await guest.readResource('demo://nothing/here').catch((error: unknown) => String(error))
}

async function tourNotifications(guest: Guest, seen: Record<string, unknown>): Promise<void> {
  const came = (method: string): Promise<true> => eventually(method, () => guest.notes.includes(method) || undefined)
  seen['logging/setLevel'] = await guest.setLevel('debug')
  guest.notes.splice(0)
  seen['logging on'] = await guest.callTool('toggle-simulated-logging', {})
  seen['logged'] = await came('notifications/message')
  seen['logging off'] = await guest.callTool('toggle-simulated-logging', {})

  const uri = 'demo://resource/dynamic/text/7'
  seen['resources/subscribe'] = await guest.subscribe(uri)
  seen['updates on'] = await guest.callTool('toggle-subscriber-updates', {})
  seen['updated'] = await came('notifications/resources/updated')
  seen['updates off'] = await guest.callTool('toggle-subscriber-updates', {})
  seen['resources/unsubscribe'] = await guest.unsubscribe(uri)
}

/** Progress is what the cancellation waits for: without it the call would be answered after a minute. */
async function tourCancellation(guest: Guest, seen: Record<string, unknown>): Promise<void> {
  const cancel = new AbortController()
  const call = guest.callTool(
    'trigger-long-running-operation',
    { duration: 60, steps: 600 },
    { signal: cancel.signal, onprogress: () => cancel.abort() },
  )
  seen['cancelled call'] = await call.then(
    () => 'answered',
    () => 'cancelled',
  )
  seen['ping after it'] = await guest.ping()
}

const CLOCK = /\d{1,2}:\d\d:\d\d(?:\s?[AP]M)?/g
const STAMP = /\d{4}-\d\d-\d\dT[\d:.]+Z/g
const SESSION = / - SessionId \S+| session (?:undefined|[\w-]{20,})|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi

/** Takes out moments and ids, in blobs too. */
function normalise<T>(value: T): T
function normalise(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(STAMP, 'TIME').replace(CLOCK, 'TIME').replace(SESSION, ' ID')
  if (Array.isArray(value)) return value.map((item) => normalise(item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      normalise(key),
      key === 'blob' && typeof item === 'string' ? normalise(Buffer.from(item, 'base64').toString('latin1')) : normalise(item),
    ]),
  )
}
