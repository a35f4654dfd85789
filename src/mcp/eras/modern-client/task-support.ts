import type { Fields } from '../../message.ts'
import { objectOf } from '../compose.ts'
import { declaresTasks, offersTasks, type Declared } from './capabilities.ts'
import { needsTasks } from './answers.ts'
import type { ModernRequest } from './modern-request.ts'
import type { Sessions } from './sessions.ts'

/** Which tools of a legacy server run as tasks (2025-11-25, `execution.taskSupport`). */
export interface TaskSupport {
  /** Takes note of a list of tools. */
  learn(message: Fields): void
  /**
   * Whether this call has to be made as a task. The list of tools is asked for when nobody did yet.
   * @throws AppError invalid_argument (-32021) for a tool that runs as a task only and a client that does not speak the extension.
   */
  runsAsTask(request: ModernRequest, declared: Declared, signal: AbortSignal): Promise<boolean>
}

const MAX_TOOLS = 10_000
const MAX_PAGES = 20

export function createTaskSupport(sessions: Sessions): TaskSupport {
  const tools = new Map<string, 'required' | 'optional' | 'forbidden'>()
  let isListed = false

  const learn = (message: Fields): void => {
    const listed: unknown = objectOf(message['result'])?.['tools']
    for (const tool of Array.isArray(listed) ? listed : []) {
      const { name, execution } = objectOf(tool) ?? {}
      if (typeof name !== 'string' || (tools.size >= MAX_TOOLS && !tools.has(name))) continue
      const said = objectOf(execution)?.['taskSupport']
      tools.set(name, said === 'required' || said === 'optional' ? said : 'forbidden')
    }
  }
  /** Whether the server has tasks at all; with its list of tools when it has. */
  const ask = async ({ clientInfo }: ModernRequest, declared: Declared, name: string, signal: AbortSignal): Promise<boolean> => {
    const { session, release } = await sessions.pin({ declared, clientInfo })
    try {
      if (!offersTasks(session.facts.capabilities)) return false
      let cursor: unknown
      for (let page = 0; page < MAX_PAGES && !tools.has(name) && !isListed; page++) {
        const exchange = { method: 'tools/list', params: cursor === undefined ? {} : { cursor }, wantsProgress: false, logLevel: undefined }
        const outcome = await session.exchange(exchange, signal)
        if (outcome.kind === 'lost') return true
        learn(outcome.message)
        cursor = objectOf(outcome.message['result'])?.['nextCursor']
        isListed = typeof cursor !== 'string' || page === MAX_PAGES - 1
      }
      return true
    } finally {
      release()
    }
  }

  return {
    learn,
    async runsAsTask(request, declared, signal) {
      const { name } = request.params
      if (request.method !== 'tools/call' || typeof name !== 'string') return false
      if (!declaresTasks(request.capabilities)) {
        if (tools.get(name) === 'required')
          throw needsTasks(`tool ${JSON.stringify(name)} of this MCP server runs as a task, which can be followed`)
        return false
      }
      if (tools.get(name) === 'forbidden' || (isListed && !tools.has(name))) return false
      const isOffered = await ask(request, declared, name, signal)
      const said = tools.get(name)
      return isOffered && (said === 'required' || said === 'optional')
    },
  }
}
