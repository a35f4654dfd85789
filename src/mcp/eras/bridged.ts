import { AppError } from '../../lib/errors.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { Fields } from '../message.ts'
import { SessionAround } from '../upstream/session-around.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../upstream/upstream.ts'
import { type BridgeDeps, META } from './bridge.ts'
import { eventOf, objectOf, paramsOf, readMessage, renderAnswer } from './compose.ts'
import { openDated } from './dated.ts'
import { createSlot, FrontSession, type Slot } from './front-session.ts'
import { type LegacyClient, readClient } from './legacy-client/client.ts'
import { toInitializeResult } from './legacy-client/handshake.ts'
import { openForLegacyClient } from './legacy-client/open.ts'
import { openForModernClient } from './modern-client/open.ts'
import { createEras, discover, type Discovery, type Eras, readsAsModern, PROBE_LIMITS, type ProbeLimits } from './probe.ts'
import { isLegacy, UNPUBLISHED } from './revisions.ts'

/**
 * An MCP server for clients of either era. Where it speaks the client's own era nothing is changed; where it does not, the session that
 * `open` gives speaks the client's era all the same, and translates.
 */
export function createBridgedUpstream(inner: Upstream, deps: BridgeDeps, limits: Partial<ProbeLimits> = {}): Upstream {
  const probing = { ...PROBE_LIMITS, ...limits }
  const eras = createEras(inner, deps, probing)
  return {
    ...(inner.health && { health: inner.health }),
    async open(options) {
      if (options.era === 'legacy') return openFront({ inner, options, eras, deps, probing })
      const era = await eras.forModern(options)
      return era === 'legacy' ? openForModernClient(inner, options, deps) : modernSession(await inner.open(options), eras)
    },
    stderrTail: () => inner.stderrTail(),
    close: () => inner.close(),
  }
}

/** Of a server that once was modern: when it no longer knows `server/discover`, it is asked again for the next session. */
function modernSession(session: UpstreamSession, eras: Eras): UpstreamSession {
  const notice = (reply: Reply): Reply => {
    if (reply.kind !== 'message' && reply.kind !== 'refused') return reply
    const code = objectOf(readMessage(reply.bytes)?.['error'])?.['code']
    if (code === -32601 || (reply.kind === 'refused' && reply.status < 500 && code === undefined)) eras.forget()
    return reply
  }
  return new SessionAround(session, (message, signal) => {
    const sent = session.send(message, signal)
    return message.method === 'server/discover' ? sent.then(notice) : sent
  })
}

type Modern = Extract<Discovery, { era: 'modern' }>

interface Front {
  inner: Upstream
  options: OpenOptions
  eras: Eras
  deps: BridgeDeps
  probing: ProbeLimits
}

/**
 * A session of a legacy client, which shows with `initialize` what the server is: it goes up as it is, and only a server that refuses it the
 * way a modern one does is asked the modern way. A server known to be modern only is asked at once.
 */
async function openFront(front: Front): Promise<UpstreamSession> {
  const { inner, options, eras, deps, probing } = front
  let isModern = eras.isModernOnly || inner.isModernOnly === true
  const slot = createSlot(await inner.open({ ...options, era: isModern ? 'modern' : 'legacy' }), deps)

  const discoverIn = (session: UpstreamSession, client: LegacyClient, ms: number): Promise<Discovery> =>
    discover(session, { [META.capabilities]: client.capabilities, ...(client.info && { [META.client]: client.info }) }, deps.server, ms)
  /** The answer to `initialize` when the server is modern; from then on the session translates. */
  const begin = (message: Outgoing, client: LegacyClient, found: Modern, session: UpstreamSession): Reply => {
    const { discovered } = found
    if (!discovered) throw new AppError('unavailable', `MCP server "${deps.server}" cannot be used: ${found.words}`, { origin: 'upstream' })
    slot.put(openForLegacyClient({ inner: session, client, discovered, deps, onContradicted: () => eras.forget() }))
    return { kind: 'message', bytes: renderAnswer(message.id ?? 'null', { result: toInitializeResult(discovered, client, deps.server) }) }
  }
  const initializeModern = async (message: Outgoing, client: LegacyClient): Promise<Reply | undefined> => {
    const found = await discoverIn(slot.current, client, probing.knownMs)
    if (found.era === 'modern') return begin(message, client, found, slot.current)
    if (found.era === 'unknown') throw found.error
    eras.forget()
    isModern = false
    slot.replace(await inner.open({ ...options, era: 'legacy' }))
    return undefined
  }
  /** A modern session, if the server knows what that is. */
  const tryModern = async (client: LegacyClient, ms: number): Promise<{ session: UpstreamSession; found: Modern } | undefined> => {
    const session = await inner.open({ ...options, era: 'modern', purpose: 'era_probe' })
    const found = await discoverIn(session, client, ms).catch((thrown: unknown) => {
      slot.dispose(session)
      throw thrown
    })
    if (found.era === 'modern') return { session, found }
    slot.dispose(session)
    return undefined
  }
  const initialize = async (message: Outgoing, signal: StopSignal): Promise<Reply> => {
    const params = paramsOf(message)
    const client = readClient(params)
    const known = isModern ? await initializeModern(message, client) : undefined
    if (known) return known
    const reply = await peek(await slot.current.send(message, signal))
    if (!reply.answer) return reply.whole
    const dated = bridgeDates(message, params, reply.answer, slot)
    if (dated) return reply.withAnswer(dated)
    const sign = readsAsModern(reply.answer)
    if (sign === 'no') return reply.whole
    const second = await tryModern(client, sign === 'clearly' ? probing.knownMs : probing.discoverMs)
    if (!second) return reply.whole
    // A refusal that this client may have brought about by itself says nothing about others.
    if (sign === 'clearly' && client.revision === params['protocolVersion']) eras.learnModernOnly()
    slot.replace(second.session)
    return begin(message, client, second.found, second.session)
  }

  return new FrontSession(slot, initialize)
}

/**
 * A legacy server of another date than the client asked for: the client gets its own date when that is known, and the server its. The answer
 * for the client, or undefined when there is nothing to translate.
 */
function bridgeDates(message: Outgoing, params: Fields, answer: Answer, slot: Slot): Buffer | undefined {
  const asked = params['protocolVersion']
  const result = answer.kind === 'message' ? objectOf(readMessage(answer.bytes)?.['result']) : undefined
  const answered = result?.['protocolVersion']
  if (!result || typeof asked !== 'string' || typeof answered !== 'string') return undefined
  if (asked === answered || !isLegacy(asked) || !(isLegacy(answered) || answered === UNPUBLISHED)) return undefined
  slot.put(openDated(slot.current, { client: asked, server: answered }))
  return renderAnswer(message.id ?? 'null', { result: { ...result, protocolVersion: asked } })
}

type Answer = Extract<Reply, { kind: 'message' | 'refused' }>

/** A reply to `initialize` that was looked into. */
interface Peeked {
  /** The answer, whatever form it came in. */
  answer: Answer | undefined
  /** The reply as it came. */
  whole: Reply
  /** The same with another answer in it. */
  withAnswer(bytes: Buffer): Reply
}

async function peek(reply: Reply): Promise<Peeked> {
  const withAnswer = (bytes: Buffer): Reply => ({ kind: 'message', bytes })
  if (reply.kind === 'message' || reply.kind === 'refused') return { answer: reply, whole: reply, withAnswer }
  if (reply.kind !== 'events') return { answer: undefined, whole: reply, withAnswer }
  const iterator = reply.events[Symbol.asyncIterator]()
  const { before, answer } = await readToAnswer(iterator)
  const from = (events: readonly SseEvent[]): Reply => ({ kind: 'events', events: resume([...before, ...events], iterator) })
  return {
    answer: answer && { kind: 'message', bytes: answer.data },
    whole: from(answer ? [answer] : []),
    withAnswer: (bytes) => from([eventOf(bytes)]),
  }
}

/** What a server may say before it answers `initialize`. */
const MAX_BEFORE = { events: 100, bytes: 1024 * 1024 }

/** @throws AppError unavailable (origin upstream) when too much comes before the answer; the stream is closed then. */
async function readToAnswer(iterator: AsyncIterator<SseEvent>): Promise<{ before: SseEvent[]; answer: SseEvent | undefined }> {
  const before: SseEvent[] = []
  let bytes = 0
  for (;;) {
    const next = await iterator.next()
    if (next.done) return { before, answer: undefined }
    const event = next.value
    if (event.data.length > 0 && readMessage(event.data)?.['method'] === undefined) return { before, answer: event }
    bytes += event.raw.length
    if (before.push(event) <= MAX_BEFORE.events && bytes <= MAX_BEFORE.bytes) continue
    await iterator.return?.()
    throw new AppError('unavailable', 'the MCP server does not answer initialize', { origin: 'upstream' })
  }
}

async function* resume(seen: readonly SseEvent[], rest: AsyncIterator<SseEvent>): AsyncGenerator<SseEvent, void> {
  try {
    yield* seen
    for (;;) {
      const next = await rest.next()
      if (next.done) return
      yield next.value
    }
  } finally {
    await rest.return?.()
  }
}
