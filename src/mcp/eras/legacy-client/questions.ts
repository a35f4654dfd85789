import { AppError } from '../../../lib/errors.ts'
import { renderExact } from '../../../lib/json-scan.ts'
import { idKey, keyOfRaw } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing } from '../../upstream/upstream.ts'
import { numberOf, objectOf, readMessage } from '../compose.ts'

/** One request to the client. */
export interface Question {
  /** The message for the client. */
  readonly message: Fields
  /** Its result; rejects with `failed_precondition` when the client answers with an error. */
  readonly answer: Promise<Fields>
  /** An answer is not wanted any more; true when none had come. */
  withdraw(): boolean
}

/** Requests to a legacy client on its own streams. Their ids are text that no server makes: a modern server asks nothing by itself. */
export interface Questions {
  ask(method: string, params: Fields | undefined): Question
  /** Takes a response of the client; one that nobody waits for is dropped. */
  take(response: Outgoing): void
}

export function createQuestions(): Questions {
  const open = new Map<string, PromiseWithResolvers<Fields>>()
  let count = 0
  return {
    ask(method, params) {
      const id = `sallyport-${++count}`
      const key = idKey(id)
      const waiting = Promise.withResolvers<Fields>()
      // Whoever withdraws it looks at the answer no more.
      waiting.promise.catch(() => undefined)
      open.set(key, waiting)
      const message = { jsonrpc: '2.0', id, method, ...(params && { params }) }
      return { message, answer: waiting.promise, withdraw: () => open.delete(key) }
    },
    take(response) {
      const key = keyOfRaw(response.id)
      const waiting = open.get(key)
      if (!waiting) return
      open.delete(key)
      const message = readMessage(response.bytes)
      const result = objectOf(message?.['result'])
      if (result) waiting.resolve(result)
      else waiting.reject(refusal(objectOf(message?.['error'])))
    },
  }
}

function refusal(error: Fields | undefined): AppError {
  const code = numberOf(error?.['code'])
  const said = typeof error?.['message'] === 'string' ? error['message'].slice(0, 300) : 'an answer that cannot be read'
  return new AppError('failed_precondition', `${said}${code === undefined ? '' : ` (code ${renderExact(code)})`}`)
}
