import { answer, type Fields, fieldsOf, RpcError, type Turn } from './dated-tools.ts'

/** A call that goes on without its caller: in the core of 2025-11-25, as an extension in 2026-07-28. */
interface Job {
  taskId: string
  tool: string
  revision: string
  status: 'working' | 'input_required' | 'completed' | 'cancelled'
  looks: number
  text: string
}

const EXTENSION = 'io.modelcontextprotocol/tasks'
const RELATED = 'io.modelcontextprotocol/related-task'
const MODERN = '2026-07-28'
/** Ends by itself, asks for a name before it ends, runs until it is cancelled. */
const TOOLS = ['job', 'job-asks', 'job-waits']
const FORM = {
  mode: 'form',
  message: 'Your name?',
  requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
}
const AT = '2026-11-21T00:00:00Z'

const jobs = new Map<string, Job>()

/** The tools that run as tasks, as a list of tools of that revision has them. */
function listJobs({ revision }: Turn): Fields[] {
  if (revision < '2025-11-25') return []
  const execution = revision === MODERN ? {} : { execution: { taskSupport: 'optional' } }
  return TOOLS.map((name) => ({ name, inputSchema: { type: 'object' }, ...execution }))
}

/** What every server of these tests answers, with tasks where its revision has them. */
export async function answerWithTasks(method: string, params: Fields, turn: Turn): Promise<Fields> {
  const ofTask = await answerTask(method, params, turn)
  if (ofTask) return ofTask
  const answered = await answer(method, params, turn)
  const { tools } = answered
  return method === 'tools/list' && Array.isArray(tools) ? { ...answered, tools: [...tools, ...listJobs(turn)] } : answered
}

/** Answers what is about tasks; undefined for everything else and for revisions that have none. */
async function answerTask(method: string, params: Fields, turn: Turn): Promise<Fields | undefined> {
  if (turn.revision < '2025-11-25') return undefined
  const isModern = turn.revision === MODERN
  if (method === 'tools/call') return TOOLS.includes(String(params['name'])) ? callJob(params, turn) : undefined
  if (!method.startsWith('tasks/')) return undefined
  if (isModern && !declares(turn)) throw new RpcError(-32021, 'the client does not declare tasks')
  if (method === 'tasks/list' && !isModern) return { tasks: [...jobs.values()].filter((job) => job.revision === turn.revision).map(render) }
  const job = jobs.get(String(params['taskId']))
  if (!job || job.revision !== turn.revision) throw new RpcError(-32602, 'Unknown task')
  if (method === 'tasks/cancel') return cancel(job, turn)
  if (isModern && method === 'tasks/update') return update(job, fieldsOf(params['inputResponses']) ?? {})
  if (method === 'tasks/get') return look(job)
  if (!isModern && method === 'tasks/result') return endOf(job, turn)
  throw new RpcError(-32601, `Method not found: ${method}`)
}

function declares({ capabilities }: Turn): boolean {
  return fieldsOf(fieldsOf(capabilities['extensions'])?.[EXTENSION]) !== undefined
}

function callJob(params: Fields, turn: Turn): Fields {
  const isModern = turn.revision === MODERN
  if (isModern && params['task'] !== undefined) throw new RpcError(-32602, 'task is no parameter of this revision')
  const isTask = isModern ? declares(turn) : params['task'] !== undefined
  if (!isTask) return text('done at once')
  const tool = String(params['name'])
  const taskId = `task-${jobs.size + 1}`
  const job: Job = { taskId, tool, revision: turn.revision, status: 'working', looks: 0, text: 'the job is done' }
  jobs.set(taskId, job)
  return isModern ? { resultType: 'task', ...render(job) } : { task: render(job) }
}

function render({ taskId, status, revision }: Job): Fields {
  const times = revision === MODERN ? { ttlMs: 60_000, pollIntervalMs: 50 } : { ttl: 60_000, pollInterval: 50 }
  return { taskId, status, createdAt: AT, lastUpdatedAt: AT, ...times }
}

/** Each look brings it further, so that nobody has to wait. */
function look(job: Job): Fields {
  job.looks += 1
  if (job.status === 'working' && job.tool === 'job-asks') job.status = 'input_required'
  if (job.status === 'working' && job.tool === 'job' && job.looks > 1) job.status = 'completed'
  const { status, revision } = job
  if (revision !== MODERN) return render(job)
  return {
    ...render(job),
    ...(status === 'input_required' && { inputRequests: { name: { method: 'elicitation/create', params: FORM } } }),
    ...(status === 'completed' && { result: { ...text(job.text), resultType: 'complete' } }),
  }
}

function update(job: Job, responses: Fields): Fields {
  const given = fieldsOf(responses['name'])
  if (job.status === 'input_required' && given) conclude(job, given)
  return {}
}

function conclude(job: Job, given: Fields): void {
  job.text = `${String(given['action'])} ${String(fieldsOf(given['content'])?.['name'])}`
  job.status = 'completed'
}

function cancel(job: Job, turn: Turn): Fields {
  if (job.status === 'completed' || job.status === 'cancelled') throw new RpcError(-32602, `the task is ${job.status} already`)
  job.status = 'cancelled'
  turn.onCancelled()
  return job.revision === MODERN ? {} : render(job)
}

async function endOf(job: Job, turn: Turn): Promise<Fields> {
  const _meta = { [RELATED]: { taskId: job.taskId } }
  if (job.status === 'cancelled') throw new RpcError(-32602, 'the task was cancelled')
  if (job.tool === 'job-asks' && job.status !== 'completed') {
    job.status = 'input_required'
    conclude(job, await turn.ask('name', 'elicitation/create', { ...FORM, _meta }))
  }
  job.status = 'completed'
  return { ...text(job.text), _meta }
}

function text(value: string): Fields {
  return { content: [{ type: 'text', text: value }] }
}
