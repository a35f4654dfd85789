import { frameSse, type SseEvent } from '../../lib/sse.ts'
import { fieldsOf } from '../message.ts'
import { exposeNotice, exposeResponse } from './answers.ts'
import { findChanged, type ListKind } from '../list-kinds.ts'
import type { Questions } from './questions.ts'
import { readHead } from '../message-head.ts'
import { replaceParams } from './splice.ts'
import { exposeId } from './uris.ts'

/** A message of a member on its way to the client. */
export interface Incoming {
  kind: 'response' | 'request' | 'notification' | 'none'
  /** As the client is to see it; undefined when it is not the client's. */
  text: string | undefined
  /** Of a response. */
  id?: unknown
  /** Of a notification that a list has changed. */
  changed?: ListKind | undefined
}

export interface Translation {
  server: string
  /** The method of the request that a response with this id answers; undefined when nobody waits for it. */
  methodOf: (id: unknown) => string | undefined
  /** Of the session; without one, requests of members reach nobody. */
  questions: Questions | undefined
  /** Whether a token of progress is that of a request of another server. */
  isForeignToken: (token: unknown) => boolean
}

/**
 * Reads one message of a member. What has another name here is renamed, everything else keeps its bytes. One that two readers could take for
 * different ones is none.
 */
export function translate(text: string, { server, methodOf, questions, isForeignToken }: Translation): Incoming {
  const message = readHead(text).isClear ? fieldsOf(readJson(text)) : undefined
  if (!message) return { kind: 'none', text: undefined }
  const { id, method } = message
  if (method === undefined) {
    const answered = methodOf(id)
    return {
      kind: 'response',
      id,
      text: answered === undefined ? undefined : exposeResponse(answered, server, Buffer.from(text)).toString('utf8'),
    }
  }
  if (id !== undefined) return { kind: 'request', text: questions?.ask(server, exposeNotice(server, text)) }
  if (method === 'notifications/cancelled') return { kind: 'notification', text: withdrawn(text, message['params'], server, questions) }
  if (method === 'notifications/progress' && isForeignToken(fieldsOf(message['params'])?.['progressToken']))
    return { kind: 'notification', text: undefined }
  const changed = typeof method === 'string' ? findChanged(method) : undefined
  return { kind: 'notification', text: exposeNotice(server, text), changed }
}

/** The server gives up a request of its own, which the client knows by another id. */
function withdrawn(text: string, params: unknown, server: string, questions: Questions | undefined): string | undefined {
  const id = questions?.withdraw(server, fieldsOf(params)?.['requestId'])
  return id === undefined ? undefined : replaceParams(Buffer.from(text), { requestId: id }).toString('utf8')
}

/**
 * An event of a member with another text. Its id, if it has one, names the member: the client gives it back in `Last-Event-ID`
 * (Streamable HTTP, resumability).
 */
export function renderEvent(event: SseEvent, text: string | undefined, server: string | undefined): Buffer {
  const isSame = text === undefined || text === event.data.toString('utf8')
  const id = event.id === undefined || event.id === '' || server === undefined ? undefined : exposeId(server, event.id)
  if (isSame && event.id === undefined) return event.raw
  if (!event.hasData)
    return Buffer.from(`${id === undefined ? ':' : `id: ${id}`}\n${event.retry === undefined ? '' : `retry: ${event.retry}\n`}\n`)
  return frameSse({
    data: text ?? event.data,
    ...(event.event !== 'message' && { event: event.event }),
    ...(id !== undefined && { id }),
    ...(event.retry !== undefined && { retry: event.retry }),
  })
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // not JSON: nothing that a client could use
  }
}
