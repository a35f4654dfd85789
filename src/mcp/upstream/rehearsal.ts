import { AppError } from '../../lib/errors.ts'
import { scanMessage } from '../../lib/json-scan.ts'
import type { Handshake } from '../hosting/handshakes.ts'
import type { Rehearsal } from '../hosting/warm-pool.ts'
import { classifyLine } from './incoming.ts'
import type { Channel } from './stdio-channel.ts'
import { withId } from './stdio-ids.ts'
import type { Outgoing, Reply } from './upstream.ts'

/** The parameters of an `initialize` that are kept at most, and an answer: each spare has both. */
const MAX_PARAMS_BYTES = 16 * 1024
const MAX_ANSWER_BYTES = 1024 * 1024
const MEMBERS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params'])
/** No client counts so far: its own requests have ids that the server has not seen. */
const ID = '2147483646'

/** A process that has answered an `initialize`, or is about to, and was not told `initialized`. */
export interface Rehearsed extends Rehearsal {
  readonly channel: Channel
  readonly agreed: Promise<Buffer>
}

/**
 * What an `initialize` says, byte for byte, where another client may say the same: its parameters. Undefined for any other message, and for one with
 * `_meta`, which is of one client alone: who calls may stand there.
 */
export function findHandshake({ kind, method, bytes }: Outgoing): Handshake {
  if (kind !== 'request' || method !== 'initialize' || bytes.length > MAX_PARAMS_BYTES) return undefined
  const message = scanMessage(bytes)
  if (message.kind !== 'object' || message.other || !message.paramsIsObject || message.paramsMembers.has('_meta')) return undefined
  if ([...message.members.keys()].some((name) => !MEMBERS.has(name))) return undefined
  const params = message.members.get('params')
  return params && bytes.toString('utf8', params.start, params.end)
}

/** Says to a program what the next client will probably say. */
export function rehearse(handshake: string, channel: Channel): Rehearsed {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${ID},"method":"initialize","params":${handshake}}`)
  const message: Outgoing = { kind: 'request', bytes, id: ID, method: 'initialize', progressToken: undefined, headers: {}, whole: true }
  const agreed = channel.send(message, new AbortController().signal).then((reply) => {
    const answer = findAgreement(reply)
    if (!answer) throw new AppError('unavailable', 'it does not agree to what clients say', { origin: 'upstream' })
    // It may be part of a larger buffer.
    return Buffer.from(answer)
  })
  return { channel, agreed }
}

/** The answer to `initialize` where that is a short result. */
export function findAgreement(reply: Reply): Buffer | undefined {
  if (reply.kind !== 'message' || reply.bytes.length > MAX_ANSWER_BYTES) return undefined
  const incoming = classifyLine(reply.bytes)
  return incoming.kind === 'response' && incoming.result !== undefined ? reply.bytes : undefined
}

/** The answer of a rehearsal to the one who really asks. */
export function replyTo({ id }: Outgoing, answer: Buffer): Reply {
  return { kind: 'message', bytes: withId(answer, id ?? 'null') }
}
