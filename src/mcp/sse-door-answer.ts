import { AppError, toAppError } from '../lib/errors.ts'
import type { Answer } from '../lib/http-exchange.ts'
import { createSseParser, frameSse, type SseEvent, type SseParser } from '../lib/sse.ts'
import { rpcOf } from './failure.ts'
import { renderRpcError } from './message.ts'
import type { SseDoorWriter } from './sse-door-writer.ts'

export interface SseAnswerOptions {
  /** Raw id of the request that is answered; undefined when nobody waits for an answer. */
  requestId: string | undefined
  maxBytes: number
  /** Whether so many bytes more of an answer that is not whole yet may be kept. */
  hasRoom(bytes: number): boolean
  onHead(status: number, headers: Readonly<Record<string, string>>): void
  /** Each message before it is written, as text. */
  onMessage(data: string): void
}

/** An answer of streamable HTTP, one JSON message or a stream of them, as `message` events of the client's stream. */
export function createSseAnswer(writer: SseDoorWriter, { requestId, maxBytes, hasRoom, onHead, onMessage }: SseAnswerOptions): Answer {
  const chunks: Uint8Array[] = []
  let parser: SseParser | undefined
  let size = 0
  let isOver = false
  let isRefusal = false

  const say = (data: string): boolean => {
    onMessage(data)
    return writer.write(frameSse({ event: 'message', data }))
  }
  const fail = (error: AppError): void => {
    isOver = true
    chunks.length = 0
    if (requestId !== undefined) say(renderRpcError(requestId, rpcOf(error), error.message).toString('utf8'))
  }
  const take = (chunk: Uint8Array): boolean => {
    if (isOver) return true
    if (!parser) {
      size += chunk.byteLength
      if (size > maxBytes) fail(tooLarge(maxBytes))
      else if (hasRoom(chunk.byteLength)) chunks.push(chunk)
      else fail(tooMuch())
      return true
    }
    let isFast = true
    for (const event of read(parser, chunk)) if (event.data.length > 0) isFast = say(event.data.toString('utf8'))
    return isFast
  }

  const read = (events: SseParser, chunk: Uint8Array): SseEvent[] => {
    try {
      return events.push(chunk)
    } catch (thrown) {
      fail(toAppError(thrown))
      return []
    }
  }

  return {
    head(status, headers) {
      if (headers['content-type'] === 'text/event-stream') parser = createSseParser({ maxEventBytes: maxBytes + 64 * 1024 })
      isRefusal = status >= 400
      onHead(status, headers)
    },
    write: take,
    drained: () => writer.drained(),
    end(chunk) {
      if (chunk) take(chunk)
      if (isOver) return
      isOver = true
      // What is wrong with a notification is told to nobody: an error without an id answers nothing.
      if (chunks.length > 0 && (!isRefusal || requestId !== undefined)) say(Buffer.concat(chunks).toString('utf8'))
    },
    abort(reason) {
      if (!isOver) fail(new AppError('unavailable', reason))
    },
  }
}

function tooLarge(maxBytes: number): AppError {
  return new AppError('resource_exhausted', `the answer is larger than ${maxBytes} bytes, more than an event of this transport may carry`)
}

function tooMuch(): AppError {
  return new AppError('resource_exhausted', 'too much that was asked for on this event stream comes at once: ask for less at a time')
}
