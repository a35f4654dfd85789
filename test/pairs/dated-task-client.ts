import { eventually } from '../wait.ts'
import { answerAsked, type DatedClient, type RequestOptions } from './dated-client.ts'
import { type Fields, fieldsOf } from './dated-tools.ts'

// How clients of the two revisions that have tasks use them.

const RELATED = 'io.modelcontextprotocol/related-task'

/** Calls a tool as a task and gives the id of the task. */
export async function beginTask(client: DatedClient, name: string): Promise<string> {
  const { tools } = await client.request('tools/list', {})
  const listed = Array.isArray(tools) ? tools.map((tool) => fieldsOf(tool)).find((tool) => tool?.['name'] === name) : undefined
  const support = fieldsOf(listed?.['execution'])?.['taskSupport']
  if (support !== (isModern(client) ? undefined : 'optional')) throw new Error(`taskSupport of ${name} is ${String(support)}`)
  const asked = isModern(client) ? {} : { task: { ttl: 60_000 } }
  const result = await client.request('tools/call', { name, arguments: {}, ...asked }, optionsFor(client))
  const task = isModern(client) ? result : fieldsOf(result['task'])
  if (typeof task?.['taskId'] !== 'string') throw new Error(`no task: ${JSON.stringify(result)}`)
  if (isModern(client) && result['resultType'] !== 'task') throw new Error(`not of type task: ${JSON.stringify(result)}`)
  checkTimes(client, task)
  return task['taskId']
}

/** Waits for the end of a task, answers what it asks meanwhile, and gives its result. */
export async function findTaskResult(client: DatedClient, taskId: string): Promise<Fields> {
  if (isModern(client)) return eventually('the end of the task', () => lookModern(client, taskId))
  checkTimes(client, await client.request('tasks/get', { taskId }))
  const result = await client.request('tasks/result', { taskId })
  if (fieldsOf(fieldsOf(result['_meta'])?.[RELATED])?.['taskId'] !== taskId) throw new Error(`of another task: ${JSON.stringify(result)}`)
  const { tasks } = await client.request('tasks/list', {})
  if (!Array.isArray(tasks) || !tasks.some((task) => fieldsOf(task)?.['taskId'] === taskId)) throw new Error('the task is not listed')
  return result
}

/** Cancels a task and gives its last status. */
export async function cancelTask(client: DatedClient, taskId: string): Promise<unknown> {
  await client.request('tasks/cancel', { taskId }, optionsFor(client))
  return (await client.request('tasks/get', { taskId }, optionsFor(client)))['status']
}

async function lookModern(client: DatedClient, taskId: string): Promise<Fields | undefined> {
  const task = await client.request('tasks/get', { taskId }, optionsFor(client))
  checkTimes(client, task)
  if (task['status'] === 'input_required') {
    const asked = Object.entries(fieldsOf(task['inputRequests']) ?? {})
    const inputResponses = Object.fromEntries(
      asked.map(([key, value]) => [
        key,
        answerAsked(String(fieldsOf(value)?.['method']), fieldsOf(fieldsOf(value)?.['params']) ?? {}, client.capabilities),
      ]),
    )
    await client.request('tasks/update', { taskId, inputResponses }, optionsFor(client))
  }
  return task['status'] === 'completed' ? fieldsOf(task['result']) : undefined
}

function checkTimes(client: DatedClient, task: Fields): void {
  const { ttl, ttlMs } = task
  if ((isModern(client) ? ttlMs : ttl) !== 60_000 || (isModern(client) ? ttl : ttlMs) !== undefined)
    throw new Error(`not the times of a task of ${client.revision}: ${JSON.stringify(task)}`)
}

function isModern({ revision }: DatedClient): boolean {
  return revision === '2026-07-28'
}

function optionsFor(client: DatedClient): RequestOptions {
  if (!isModern(client)) return {}
  const capabilities = { ...client.capabilities, extensions: { 'io.modelcontextprotocol/tasks': {} } }
  return { meta: { 'io.modelcontextprotocol/clientCapabilities': capabilities } }
}
