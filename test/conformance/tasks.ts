import { randomUUID } from 'node:crypto'
import {
  inputRequired,
  type InputRequests,
  inputResponse,
  McpServer,
  ProtocolError,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { z } from 'zod'

const EXTENSION = 'io.modelcontextprotocol/tasks'
const INVALID_PARAMS = -32602
const MISSING_CAPABILITY = -32021
/** Long enough to be seen working. */
const SHORT_MS = 50

/** What a task became of, as `tasks/get` tells it. */
type Outcome =
  | { status: 'completed'; result: unknown }
  | { status: 'failed'; error: { code: number; message: string } }
  | { status: 'cancelled' }

interface Task {
  id: string
  createdAt: string
  lastUpdatedAt: string
  outcome: Outcome | undefined
  /** What the client has not answered yet, by key. */
  asked: InputRequests
  /** Said when all is answered. */
  finish: () => Outcome
}

/** Tasks that live as long as this; the server in front of them may be made anew for each request. */
export type TaskStore = Map<string, Task>

interface Call {
  name: string
  args: Record<string, unknown>
  request: ServerContext['mcpReq']
  store: TaskStore
}

/** The tools that the conformance scenarios about tasks call by name, by what runs them. */
const TOOLS: Readonly<Record<string, (call: Call) => unknown>> = {
  greet: ({ args }) => says(`Hello, ${String(args['name'])}!`),
  slow_compute: async (call) => {
    const ms = Number(call.args['seconds'] ?? 0) * 1000
    const done = (): Outcome => ({ status: 'completed', result: says(`computed ${String(call.args['label'])}`) })
    if (isDeclared(call.request)) return startTask(call.store, { afterMs: ms, finish: done })
    await new Promise((resolve) => setTimeout(resolve, ms))
    return says('computed at once')
  },
  failing_job: (call) =>
    required(call, { afterMs: SHORT_MS, finish: () => ({ status: 'completed', result: { ...says('the job failed'), isError: true } }) }),
  protocol_error_job: (call) =>
    required(call, { afterMs: SHORT_MS, finish: () => ({ status: 'failed', error: { code: -32603, message: 'the job broke' } }) }),
  confirm_delete: (call) => required(call, { asked: { confirm: ask('Delete it?') }, finish: done('deleted') }),
  multi_input: (call) => required(call, { asked: { first: ask('First?'), second: ask('Second?') }, finish: done('both answered') }),
  test_tool_with_task: (call) => {
    const answer = inputResponse(call.request.inputResponses, 'user_name')
    if (answer.kind !== 'elicit') return inputRequired({ inputRequests: { user_name: ask('Who?') } })
    return required(call, { afterMs: SHORT_MS, finish: done(`Hello, ${JSON.stringify(answer.content)}`) })
  },
}

/** A server that runs its tools as tasks for clients that know those (extension io.modelcontextprotocol/tasks, 2026-07-28). */
export function createTasksServer(store: TaskStore): McpServer {
  const mcp = new McpServer({ name: 'tasks', version: '1.0.0' }, { capabilities: { tools: {}, extensions: { [EXTENSION]: {} } } })
  const { server } = mcp
  server.setRequestHandler('tools/list', () => ({
    tools: Object.keys(TOOLS).map((name) => ({ name, description: name, inputSchema: { type: 'object' as const } })),
  }))
  const callParams = z.looseObject({ name: z.string(), arguments: z.record(z.string(), z.unknown()).default({}) })
  server.setRequestHandler('tools/call', { params: callParams, result: z.unknown() }, async ({ name, arguments: args }, { mcpReq }) => {
    const run = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined
    if (!run) throw new ProtocolError(INVALID_PARAMS, `Tool ${name} not found`)
    return run({ name, args, request: mcpReq, store })
  })
  const taskParams = z.looseObject({ taskId: z.string() })
  const handle = (method: string, answer: (task: Task, request: ServerContext['mcpReq']) => unknown): void =>
    server.setRequestHandler(method, { params: taskParams, result: z.unknown() }, ({ taskId }, { mcpReq }) => {
      if (!isDeclared(mcpReq)) throw missingCapability()
      const task = store.get(taskId)
      if (!task) throw new ProtocolError(INVALID_PARAMS, `Task ${taskId} not found`)
      return answer(task, mcpReq)
    })
  handle('tasks/get', describe)
  handle('tasks/cancel', (task) => {
    settle(task, { status: 'cancelled' })
    return {}
  })
  handle('tasks/update', (task, { inputResponses }) => {
    for (const key of Object.keys(inputResponses ?? {})) delete task.asked[key]
    if (Object.keys(task.asked).length === 0) settle(task, task.finish())
    return {}
  })
  return mcp
}

function says(text: string) {
  return { content: [{ type: 'text' as const, text }] }
}

function done(text: string): () => Outcome {
  return () => ({ status: 'completed', result: says(text) })
}

function ask(message: string) {
  return inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties: { name: { type: 'string' }, confirm: { type: 'boolean' } } },
  })
}

interface Work {
  afterMs?: number
  asked?: InputRequests
  finish: () => Outcome
}

function required({ request, store }: Call, work: Work): unknown {
  if (!isDeclared(request)) throw missingCapability()
  return startTask(store, work)
}

/** What there is to say at once; `content` is there because the SDK wants one in the result of any tool. */
function startTask(store: TaskStore, { afterMs, asked = {}, finish }: Work): unknown {
  const now = new Date().toISOString()
  const task: Task = { id: randomUUID(), createdAt: now, lastUpdatedAt: now, outcome: undefined, asked: { ...asked }, finish }
  store.set(task.id, task)
  if (afterMs !== undefined) setTimeout(() => settle(task, finish()), afterMs).unref()
  return { resultType: 'task', content: [], ...head(task) }
}

function settle(task: Task, outcome: Outcome): void {
  task.lastUpdatedAt = new Date().toISOString()
  task.outcome ??= outcome
}

function describe(task: Task): unknown {
  if (task.outcome) return { ...head(task), ...task.outcome }
  return Object.keys(task.asked).length > 0 ? { ...head(task), inputRequests: task.asked } : head(task)
}

function head({ id, createdAt, lastUpdatedAt, outcome, asked }: Task) {
  const status = outcome?.status ?? (Object.keys(asked).length > 0 ? 'input_required' : 'working')
  return { taskId: id, status, createdAt, lastUpdatedAt, ttlMs: 60_000, pollIntervalMs: 100 }
}

function isDeclared({ envelope }: ServerContext['mcpReq']): boolean {
  const capabilities = z
    .object({ extensions: z.record(z.string(), z.unknown()) })
    .safeParse(Reflect.get(envelope ?? {}, 'io.modelcontextprotocol/clientCapabilities'))
  return capabilities.success && EXTENSION in capabilities.data.extensions
}

function missingCapability(): ProtocolError {
  const data = { requiredCapabilities: { extensions: { [EXTENSION]: {} } } }
  return new ProtocolError(MISSING_CAPABILITY, `this needs the extension ${EXTENSION}`, data)
}
