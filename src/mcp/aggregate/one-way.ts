import { AppError } from '../../lib/errors.ts'
import { renderExact } from '../../lib/json-scan.ts'
import { type ClientMessage, fieldsOf, renderRpcError } from '../message.ts'
import { MAX_CARRIED } from './commons.ts'
import type { Engine } from './engine.ts'
import type { Session } from './session.ts'
import { replaceId, replaceParams } from './splice.ts'

/** Takes a notification or response of the client to whom it is for. @throws AppError invalid_argument for a response to nothing. */
export async function sendOneWay(engine: Engine, session: Session, message: ClientMessage): Promise<void> {
  // What ends a request that counts must not wait until fewer count.
  if (message.kind === 'response' || message.method === 'notifications/cancelled') return send(engine, session, message)
  const release = engine.load.begin(session.owner)
  try {
    await send(engine, session, message)
  } finally {
    release()
  }
}

async function send({ commons }: Engine, session: Session, message: ClientMessage): Promise<void> {
  const wanted = isWanted(session, message)
  if (message.kind === 'response' && wanted === false && session.questions.isOfAnother(message.id)) return carry(commons, session, message)
  if (wanted !== true && CARRIED.has(message.method)) commons.spread(session, message.bytes)
  await deliver(session, message)
}

/** Notifications that may be about what runs elsewhere. */
const CARRIED = new Set(['notifications/cancelled', 'notifications/progress', 'notifications/roots/list_changed'])

/** The server asked where another process holds the request. */
async function carry(commons: Engine['commons'], session: Session, { id, bytes }: ClientMessage): Promise<void> {
  const isTooLarge = bytes.length > MAX_CARRIED
  const tooLarge = `an answer that goes to another replica of the gateway may have ${MAX_CARRIED} bytes`
  const isTaken = await commons.carry(session, isTooLarge ? renderRpcError(id, -32603, tooLarge) : bytes)
  if (!isTaken)
    throw new AppError('invalid_argument', 'nobody waits for this any more: the replica of the gateway that held the request is gone', {
      details: { rpc: -32600 },
    })
  if (isTooLarge) throw new AppError('resource_exhausted', tooLarge, { details: { http: 413, rpc: -32600 } })
}

/** Whether a notification or response is for something that runs here; `everywhere`: for whoever has the session. */
export function isWanted(session: Session, { kind, method, id, params }: ClientMessage): boolean | 'everywhere' {
  if (kind === 'response') return session.questions.has(id)
  if (method === 'notifications/roots/list_changed') return 'everywhere'
  if (method === 'notifications/cancelled') return session.running.find(params['requestId']) !== undefined
  if (method === 'notifications/progress') return session.questions.findByToken(params['progressToken']) !== undefined
  return false
}

/** To whom it is for, here. @throws AppError invalid_argument for a response to nothing. */
export async function deliver(session: Session, message: ClientMessage): Promise<void> {
  if (message.kind === 'response') return respond(session, message)
  const { method, params, bytes } = message
  if (method === 'notifications/roots/list_changed') return session.tell(bytes)
  if (method === 'notifications/cancelled') {
    const running = session.running.find(params['requestId'])
    if (running && session.has(running.server)) await session.tell(bytes, running.server)
    else running?.abort(new AppError('cancelled', 'the request was cancelled', { details: { http: 200 } }))
  } else if (method === 'notifications/progress') {
    const question = session.questions.findByToken(params['progressToken'])
    if (question) await session.tell(replaceParams(bytes, { progressToken: renderExact(question.token) }), question.server)
  } else if (method === 'notifications/tasks/status') {
    const server = session.clientTasks.find(params['taskId'])
    if (server !== undefined) await session.tell(bytes, server)
  }
}

async function respond(session: Session, { id, bytes }: ClientMessage): Promise<void> {
  const question = session.questions.take(id)
  if (!question) throw new AppError('invalid_argument', 'no MCP server has asked anything with this id', { details: { rpc: -32600 } })
  if (bytes.includes('"taskId"')) {
    const response = fieldsOf(JSON.parse(bytes.toString('utf8')))
    const taskId = fieldsOf(fieldsOf(response?.['result'])?.['task'])?.['taskId']
    if (typeof taskId === 'string') session.clientTasks.begin(taskId, question.server)
  }
  await session.tell(replaceId(bytes, question.id), question.server)
}
