import { AppError } from '../../../lib/errors.ts'
import type { Fields } from '../../message.ts'
import { objectOf } from '../compose.ts'
import { type LegacyClient, reasonNotToAsk, toLegacyQuestion } from './client.ts'
import type { LegacyClientLimits } from './limits.ts'
import type { Question, Questions } from './questions.ts'

export interface RoundDeps {
  server: string
  client: LegacyClient
  questions: Questions
  limits: LegacyClientLimits
  makeId: () => string
}

/** One embedded request of an `input_required` result. */
export interface Input {
  key: string
  method: string
  params: Fields | undefined
}

/** What came of the questions of one round: the answers by the server's keys, or why there are none. */
export type Asked = { answers: Fields } | { failure: string }

/** What the server wants to know (2026-07-28, multi round-trip requests), or in words why it cannot be had. */
export function readInputs(requests: unknown, { server, client, limits }: RoundDeps): { inputs: Input[] } | { failure: string } {
  if (requests === undefined) return { inputs: [] }
  const entries = Object.entries(objectOf(requests) ?? { '': undefined })
  if (entries.length > limits.maxQuestions)
    return { failure: `MCP server "${server}" asks for more than ${limits.maxQuestions} things at once` }
  const inputs: Input[] = []
  for (const [key, value] of entries) {
    const request = objectOf(value)
    const method = request?.['method']
    if (typeof method !== 'string') return { failure: `MCP server "${server}" asks for input in a way that cannot be read` }
    const params = objectOf(request?.['params'])
    const missing = reasonNotToAsk(client, method, params ?? {})
    if (missing !== undefined)
      return { failure: `MCP server "${server}" asks for ${missing}, which this client (revision ${client.revision}) does not offer` }
    inputs.push({ key, method, params })
  }
  return { inputs }
}

/**
 * Puts the questions to the client: yields the messages for it, and returns when all are answered, one was refused, or time is up.
 * @throws what `signal` fires with.
 */
export async function* askClient(inputs: readonly Input[], deps: RoundDeps, signal: AbortSignal): AsyncGenerator<Fields, Asked> {
  const { client, questions, makeId } = deps
  const asked = inputs.map(({ key, method, params }) => {
    const legacy = params && toLegacyQuestion(client, method, params, makeId)
    return { key, method, question: questions.ask(method, legacy) }
  })
  try {
    for (const { question } of asked) yield question.message
    const answers = await answered(asked, deps, signal)
    return { answers: Object.fromEntries(answers) }
  } catch (thrown) {
    if (signal.aborted || !(thrown instanceof AppError)) throw thrown
    // The client need not go on thinking about the others.
    for (const { question } of asked) if (question.withdraw()) yield cancelling(question)
    return { failure: thrown.message }
  } finally {
    for (const { question } of asked) question.withdraw()
  }
}

async function answered(
  asked: readonly { key: string; method: string; question: Question }[],
  { limits }: RoundDeps,
  signal: AbortSignal,
): Promise<[string, Fields][]> {
  const over = Promise.withResolvers<never>()
  const late = new AppError('deadline_exceeded', `the client did not answer what it was asked within ${limits.answerMs / 1000} s`)
  const timer = setTimeout(() => over.reject(late), limits.answerMs)
  const onAbort = (): void => over.reject(new AppError('cancelled', 'the request was cancelled'))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const all = asked.map(async ({ key, method, question }): Promise<[string, Fields]> => {
      try {
        return [key, await question.answer]
      } catch (thrown) {
        if (!(thrown instanceof AppError)) throw thrown
        throw new AppError(thrown.code, `the client refused ${method}: ${thrown.message}`)
      }
    })
    return await Promise.race([Promise.all(all), over.promise])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

function cancelling({ message }: Question): Fields {
  return {
    jsonrpc: '2.0',
    method: 'notifications/cancelled',
    params: { requestId: message['id'], reason: 'the answer is not needed any more' },
  }
}
