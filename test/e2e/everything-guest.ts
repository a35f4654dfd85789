import { Client, type Transport } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks'
import type { Transport as TransportV1 } from '@modelcontextprotocol/sdk/shared/transport.js'
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

export interface CallOptions {
  onprogress?: (progress: { progress: number; total?: number | undefined }) => void
  signal?: AbortSignal
}

/** What a tour needs of a client, whichever SDK it is of. */
export interface Guest {
  listTools(): Promise<{ tools: { name: string }[] }>
  callTool(name: string, args: Record<string, unknown>, options?: CallOptions): Promise<unknown>
  /** A tool that only runs as a task; undefined where the SDK has no tasks. */
  callAsTask: ((name: string, args: Record<string, unknown>) => Promise<unknown>) | undefined
  listPrompts(): Promise<{ prompts: { name: string }[] }>
  getPrompt(name: string, args: Record<string, string>): Promise<unknown>
  listResources(): Promise<{ resources: { uri: string }[] }>
  listResourceTemplates(): Promise<unknown>
  readResource(uri: string): Promise<unknown>
  subscribe(uri: string): Promise<unknown>
  unsubscribe(uri: string): Promise<unknown>
  setLevel(level: 'debug'): Promise<unknown>
  complete(prompt: string, name: string, value: string, known?: Record<string, string>): Promise<unknown>
  ping(): Promise<unknown>
  serverInfo(): unknown
  /** Methods of the notifications that came. */
  notes: string[]
  close(): Promise<void>
}

const INFO = { name: 'tour', version: '1' }
const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } }
const MESSAGE = {
  model: 'model-of-the-client',
  role: 'assistant' as const,
  content: { type: 'text' as const, text: 'sampled by the client' },
}
const ROOTS = { roots: [{ uri: 'file:///srv/work', name: 'work' }] }
const ELICITED = { action: 'accept' as const, content: { name: 'Ada', check: true } }

export async function guestOfV2(transport: Transport): Promise<Guest> {
  const client = new Client(INFO, { capabilities: CAPABILITIES })
  const notes: string[] = []
  client.setRequestHandler('sampling/createMessage', async () => MESSAGE)
  client.setRequestHandler('elicitation/create', async (request) =>
    request.params.mode === 'url' ? { action: 'accept' as const } : ELICITED,
  )
  client.setRequestHandler('roots/list', async () => ROOTS)
  client.fallbackNotificationHandler = async ({ method }) => void notes.push(method)
  await client.connect(transport)
  return {
    listTools: () => client.listTools(),
    callTool: (name, args, options) => client.callTool({ name, arguments: args }, options),
    callAsTask: undefined,
    listPrompts: () => client.listPrompts(),
    getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
    listResources: () => client.listResources(),
    listResourceTemplates: () => client.listResourceTemplates(),
    readResource: (uri) => client.readResource({ uri }),
    subscribe: (uri) => client.subscribeResource({ uri }),
    unsubscribe: (uri) => client.unsubscribeResource({ uri }),
    setLevel: (level) => client.setLoggingLevel(level),
    complete: (prompt, name, value, known = {}) =>
      client.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value }, context: { arguments: known } }),
    ping: () => client.ping(),
    serverInfo: () => ({
      ...client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    }),
    notes,
    close: () => client.close(),
  }
}

export async function guestOfV1(transport: TransportV1): Promise<Guest> {
  const tasks = { requests: { sampling: { createMessage: {} }, elicitation: { create: {} } } }
  const client = new ClientV1(INFO, { capabilities: { ...CAPABILITIES, tasks }, taskStore: new InMemoryTaskStore() })
  const notes: string[] = []
  // Asked with `task`, the client answers with a task of its own, which the server then polls.
  client.setRequestHandler(CreateMessageRequestSchema, async ({ params }, { taskStore }) => {
    if (!params.task || !taskStore) return MESSAGE
    const task = await taskStore.createTask({ ttl: 60_000 })
    await taskStore.storeTaskResult(task.taskId, 'completed', MESSAGE)
    return { task }
  })
  client.setRequestHandler(ElicitRequestSchema, async ({ params }, { taskStore }) => {
    if (params.mode === 'url') return { action: 'accept' }
    if (!params.task || !taskStore) return ELICITED
    const task = await taskStore.createTask({ ttl: 60_000 })
    await taskStore.storeTaskResult(task.taskId, 'completed', ELICITED)
    return { task }
  })
  client.setRequestHandler(ListRootsRequestSchema, async () => ROOTS)
  client.fallbackNotificationHandler = async ({ method }) => void notes.push(method)
  await client.connect(transport)
  return {
    listTools: () => client.listTools(),
    callTool: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
    async callAsTask(name, args) {
      const stages: unknown[] = []
      for await (const message of client.experimental.tasks.callToolStream({ name, arguments: args })) {
        if (message.type === 'error') throw message.error
        if (message.type === 'result') return { result: message.result, isTask: stages.includes('taskCreated') }
        stages.push(message.type)
      }
      throw new Error('the task ended without a result')
    },
    listPrompts: () => client.listPrompts(),
    getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
    listResources: () => client.listResources(),
    listResourceTemplates: () => client.listResourceTemplates(),
    readResource: (uri) => client.readResource({ uri }),
    subscribe: (uri) => client.subscribeResource({ uri }),
    unsubscribe: (uri) => client.unsubscribeResource({ uri }),
    setLevel: (level) => client.setLoggingLevel(level),
    complete: (prompt, name, value, known = {}) =>
      client.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value }, context: { arguments: known } }),
    ping: () => client.ping(),
    serverInfo: () => ({
      ...client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    }),
    notes,
    close: () => client.close(),
  }
}
