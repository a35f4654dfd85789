import type { DatedClient } from './dated-client.ts'
import type { DatedServer } from './dated-server.ts'
import { type Fields, fieldsOf, RpcError } from './dated-tools.ts'
import { beginTask, cancelTask, findTaskResult } from './dated-task-client.ts'
import { eventually } from '../wait.ts'

/** Something that a revision has or has not, and how to see that it works. */
export interface Feature {
  name: string
  /** The first revision of clients that has it, and the last when it was taken away. */
  client: { from?: string; to?: string }
  /** The first revision of servers that can use it. */
  server: { from?: string; to?: string }
  run(client: DatedClient, server: DatedServer, exposed: Exposure): Promise<void>
}

/** How the client knows what the server calls by a name or URI of its own. */
export interface Exposure {
  name(original: string): string
  uri(original: string): string
}

/** At the URL of one server. */
export const AS_IT_IS: Exposure = { name: (original) => original, uri: (original) => original }

/** At the URL of all servers. */
export function amongOthers(server: string): Exposure {
  return { name: (original) => `${server}_${original}`, uri: (original) => `sallyport://${server}/${original}` }
}

export class Failed extends Error {}

function check(isTrue: boolean, what: string, seen: unknown): void {
  if (!isTrue) throw new Failed(`${what}: ${JSON.stringify(seen)}`)
}

async function callText(client: DatedClient, name: string, args: Fields = {}): Promise<string> {
  const result = await client.request('tools/call', { name, arguments: args })
  const [content] = Array.isArray(result['content']) ? result['content'] : []
  return String(fieldsOf(content)?.['text'])
}

const everywhere = { client: {}, server: {} }
const withTasks = { client: { from: '2025-11-25' }, server: { from: '2025-11-25' } }
const URI = 'note://one'

const answers = (
  name: string,
  method: string,
  params: (exposed: Exposure) => Fields,
  isRight: (result: Fields, exposed: Exposure) => boolean,
): Feature => ({
  ...everywhere,
  name,
  run: async (client, _server, exposed) => {
    const result = await client.request(method, params(exposed))
    check(isRight(result, exposed), 'not the result', result)
  },
})
const none = (): Fields => ({})
const says = (name: string, tool: string, expected: string, revisions: Pick<Feature, 'client' | 'server'> = everywhere): Feature => ({
  ...revisions,
  name,
  run: async (client, _server, exposed) => {
    const said = await callText(client, exposed.name(tool))
    check(said === expected, 'not the text', said)
  },
})
const has = (result: Fields, list: string, key: string, value: string): boolean => {
  const items: unknown = result[list]
  return Array.isArray(items) && items.some((item) => fieldsOf(item)?.[key] === value)
}

export const FEATURES: readonly Feature[] = [
  answers('`tools/list`', 'tools/list', none, (result, { name }) => has(result, 'tools', 'name', name('echo'))),
  answers(
    '`tools/call`',
    'tools/call',
    ({ name }) => ({ name: name('echo'), arguments: { text: 'hello' } }),
    (result) => has(result, 'content', 'text', 'hello'),
  ),
  answers(
    'a tool that fails',
    'tools/call',
    ({ name }) => ({ name: name('fail'), arguments: {} }),
    (result) => result['isError'] === true,
  ),
  {
    ...everywhere,
    name: 'content of every kind',
    run: async (client, server, exposed) => {
      const result = await client.request('tools/call', { name: exposed.name('show'), arguments: {} })
      const content = Array.isArray(result['content']) ? result['content'].map((item) => fieldsOf(item) ?? {}) : []
      const kinds = content.map(({ type }) => String(type))
      const oldest = client.revision < server.revision ? client.revision : server.revision
      check(kinds.slice(0, 3).join() === 'text,image,resource', 'not the content', kinds)
      check(kinds.includes('audio') === oldest >= '2025-03-26', 'audio', kinds)
      check(kinds.includes('resource_link') === oldest >= '2025-06-18', 'resource_link', kinds)
      // What a client of that revision cannot read is there as text.
      check(kinds.length === (server.revision >= '2025-06-18' ? 5 : server.revision >= '2025-03-26' ? 4 : 3), 'something is lost', kinds)
      const uris = content.flatMap(({ uri, resource }) => uri ?? fieldsOf(resource)?.['uri'] ?? [])
      check(
        uris.every((uri) => uri === exposed.uri(URI)),
        'not the URIs',
        uris,
      )
    },
  },
  answers('`prompts/list`', 'prompts/list', none, (result, { name }) => has(result, 'prompts', 'name', name('greet'))),
  answers(
    '`prompts/get`',
    'prompts/get',
    ({ name }) => ({ name: name('greet'), arguments: { who: 'Ada' } }),
    (result) => JSON.stringify(result).includes('Hello Ada'),
  ),
  answers('`resources/list`', 'resources/list', none, (result, { uri }) => has(result, 'resources', 'uri', uri(URI))),
  answers('`resources/templates/list`', 'resources/templates/list', none, (result, { uri }) =>
    has(result, 'resourceTemplates', 'uriTemplate', uri('note://{name}')),
  ),
  answers(
    '`resources/read`',
    'resources/read',
    ({ uri }) => ({ uri: uri(URI) }),
    (result, { uri }) => has(result, 'contents', 'text', 'a note') && has(result, 'contents', 'uri', uri(URI)),
  ),
  {
    ...everywhere,
    name: 'a resource that is not there',
    run: async (client, _server, exposed) => {
      const expected = client.revision === '2026-07-28' ? -32602 : -32002
      const code = await client.request('resources/read', { uri: exposed.uri('note://none') }).then(
        () => 0,
        (thrown: unknown) => (thrown instanceof RpcError ? thrown.code : 1),
      )
      check(code === expected, 'not the code', code)
    },
  },
  answers(
    '`completion/complete`',
    'completion/complete',
    ({ name }) => ({ ref: { type: 'ref/prompt', name: name('greet') }, argument: { name: 'who', value: 'A' } }),
    (result) => JSON.stringify(result).includes('"Ada"'),
  ),
  {
    ...everywhere,
    name: 'progress',
    run: async (client, _server, exposed) => {
      const seen: unknown[] = []
      const onNotification = (method: string, params: Fields): void => {
        if (method === 'notifications/progress' && params['progressToken'] === 'token-7') seen.push(params['progress'])
      }
      await client.request(
        'tools/call',
        { name: exposed.name('progress'), arguments: {} },
        { onNotification, meta: { progressToken: 'token-7' } },
      )
      check(seen.join() === '1,2', 'not the progress', seen)
    },
  },
  {
    ...everywhere,
    name: 'logging',
    run: async (client, _server, exposed) => {
      const seen: unknown[] = []
      const isModern = client.revision === '2026-07-28'
      if (!isModern) await client.request('logging/setLevel', { level: 'info' })
      const onNotification = (method: string, params: Fields): void =>
        void (method === 'notifications/message' && seen.push(params['data']))
      const meta = isModern ? { 'io.modelcontextprotocol/logLevel': 'info' } : {}
      await client.request('tools/call', { name: exposed.name('log'), arguments: {} }, { onNotification, meta })
      check(seen.join() === 'a warning', 'not the message', seen)
    },
  },
  {
    ...everywhere,
    name: 'cancellation',
    run: async (client, server, exposed) => {
      const before = server.cancelled()
      const away = new AbortController()
      const onNotification = (): void => away.abort()
      const meta = { progressToken: 'token-8' }
      const outcome = await client
        .request('tools/call', { name: exposed.name('wait'), arguments: {} }, { signal: away.signal, onNotification, meta })
        .then(
          () => 'answered',
          () => 'cancelled',
        )
      check(outcome === 'cancelled', 'not cancelled', outcome)
      await eventually('the cancellation at the server', async () => (server.cancelled() > before ? true : undefined))
    },
  },
  {
    ...everywhere,
    name: 'subscriptions',
    run: async (client, server, exposed) => {
      await client.subscribe(exposed.uri(URI))
      await eventually('the subscription at the server', async () => (server.subscribers(URI) > 0 ? true : undefined))
      server.resourceUpdated(URI)
      const { uri } = await client.heard('notifications/resources/updated')
      check(uri === exposed.uri(URI), 'not the resource', uri)
      server.toolsChanged()
      await client.heard('notifications/tools/list_changed')
    },
  },
  says('sampling', 'sample', 'the model said forty-two'),
  says('roots', 'roots', 'file:///work'),
  says('elicitation by form', 'elicit', 'accept Ada', { client: { from: '2025-06-18' }, server: { from: '2025-06-18' } }),
  says('elicitation by URL', 'visit', 'accept', { client: { from: '2025-11-25' }, server: { from: '2025-11-25' } }),
  {
    ...withTasks,
    name: 'a task',
    run: async (client, _server, exposed) => {
      const taskId = await beginTask(client, exposed.name('job'))
      const result = await findTaskResult(client, taskId)
      check(has(result, 'content', 'text', 'the job is done'), 'not the result', result)
    },
  },
  {
    ...withTasks,
    name: 'a task that asks',
    run: async (client, _server, exposed) => {
      const taskId = await beginTask(client, exposed.name('job-asks'))
      const result = await findTaskResult(client, taskId)
      check(has(result, 'content', 'text', 'accept Ada'), 'not the result', result)
    },
  },
  {
    ...withTasks,
    name: 'a task cancelled',
    run: async (client, server, exposed) => {
      const before = server.cancelled()
      const status = await cancelTask(client, await beginTask(client, exposed.name('job-waits')))
      check(status === 'cancelled', 'not cancelled', status)
      check(server.cancelled() === before + 1, 'not cancelled at the server', server.cancelled())
    },
  },
  {
    name: 'asking what the client cannot',
    client: { to: '2025-03-26' },
    server: { from: '2025-06-18' },
    run: async (client, _server, exposed) => {
      const said = await callText(client, exposed.name('elicit')).catch((thrown: unknown) => String(thrown))
      throw new RpcError(0, said)
    },
  },
  { ...answers('`ping`', 'ping', none, (result) => Object.keys(result).length === 0), client: { to: '2025-11-25' } },
  {
    name: 'a batch',
    client: { from: '2025-03-26', to: '2025-03-26' },
    server: {},
    run: async (client, _server, exposed) => {
      const call = (id: string, value: string): Fields => ({
        jsonrpc: '2.0',
        id,
        method: 'tools/call',
        params: { name: exposed.name('echo'), arguments: { text: value } },
      })
      const all = await client.batch([call('a', 'one'), call('b', 'two')])
      check(JSON.stringify(all.get('a')).includes('one') && JSON.stringify(all.get('b')).includes('two'), 'not the answers', [...all])
    },
  },
  {
    ...everywhere,
    name: 'an unknown method',
    run: async (client) => {
      await client.request('no/such', {})
    },
  },
]
