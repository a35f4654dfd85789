import { createEraUpstream, DISCOVERED, type EraScript, type EraUpstream } from '../../../../test/fakes/era-upstream.ts'
import { result } from '../../../../test/fakes/memory-upstream.ts'
import { messageText, never } from '../../../../test/fakes/outgoing.ts'
import { silentLogger } from '../../../lib/log.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing, Reply, UpstreamSession } from '../../upstream/upstream.ts'
import { objectOf, readMessage } from '../compose.ts'
import { readClient } from './client.ts'
import type { LegacyClientLimits } from './limits.ts'
import { openForLegacyClient } from './open.ts'

const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true }, tasks: { list: {} } }
const WHO = { protocolVersion: '2025-11-25', capabilities: CAPABILITIES, clientInfo: { name: 'c', version: '1' } }

export interface Opened {
  session: UpstreamSession
  inner: EraUpstream
  /** How often the server turned out not to be modern. */
  contradicted: () => number
}

export interface OpenedWith {
  /** Members of `initialize` that differ from a client of 2025-11-25 that can be asked everything. */
  who?: object
  limits?: Partial<LegacyClientLimits>
}

/** A session for a legacy client with a modern server that answers by `modern`, and nothing that waits. */
export async function open(modern: EraScript, { who = {}, limits = {} }: OpenedWith = {}): Promise<Opened> {
  const inner = createEraUpstream({ legacy: modern, modern })
  let contradicted = 0
  const session = openForLegacyClient({
    inner: await inner.open({ era: 'modern', headers: {}, caller: { name: 'alice', kind: 'user', roles: [] } }),
    client: readClient({ ...WHO, ...who }),
    discovered: readMessage(DISCOVERED) ?? {},
    deps: { server: 's', now: () => 0, random: (bytes) => Buffer.alloc(bytes, 1), log: silentLogger, version: '1' },
    onContradicted: () => (contradicted += 1),
    limits: { wait: () => Promise.resolve(), ...limits },
  })
  return { session, inner, contradicted: () => contradicted }
}

/** Answers with these results, one after the other, the last one for ever. */
export function answering(...texts: string[]): EraScript {
  return (message) => result(message, texts.length > 1 ? (texts.shift() ?? '') : (texts[0] ?? '{}'))
}

export const DONE = '{"content":[],"resultType":"complete"}'

export const send = (session: UpstreamSession, message: Outgoing): Promise<Reply> => session.send(message, never)

/** The answer to a request that is a single message. */
export async function answerTo(session: UpstreamSession, message: Outgoing): Promise<unknown> {
  return JSON.parse(messageText(await send(session, message)))
}

/** `params` of what arrived at the server at that place. */
export function paramsAt(inner: EraUpstream, at: number): Fields {
  return objectOf(inner.arrived[at]?.message['params']) ?? {}
}
