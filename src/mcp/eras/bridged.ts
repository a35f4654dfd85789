import { AppError } from '../../lib/errors.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { Fields } from '../message.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../upstream/upstream.ts'
import { type BridgeDeps, META } from './bridge.ts'
import { objectOf, paramsOf, readMessage, renderAnswer } from './compose.ts'
import { openDated } from './dated.ts'
import { type LegacyClient, readClient } from './legacy-client/client.ts'
import { toInitializeResult } from './legacy-client/handshake.ts'
import { openForLegacyClient } from './legacy-client/open.ts'
import { openForModernClient } from './modern-client/open.ts'
import { createEras, discover, type Discovery, type Eras, readsAsModern, PROBE_LIMITS, type ProbeLimits } from './probe.ts'
import { isLegacy } from './revisions.ts'

/**
 * An MCP server for clients of either era. Where it speaks the client's own era nothing is changed; where it does not, the session that
 * `open` gives speaks the client's era all the same, and translates.
 */
export function createBridgedUpstream(inner: Upstream, deps: BridgeDeps, limits: Partial<ProbeLimits> = {}): Upstream {
  const probing = { ...PROBE_LIMITS, ...limits }
  const eras = createEras(inner, deps, probing)
  return {
    async open(options) {
      if (options.era === 'legacy') return openFront({ inner, options, eras, deps, probing })
      const era = await eras.forModern(options)
      return era === 'legacy' ? openForModernClient(inner, options, deps) : watched(await inner.open(options), eras)
    },
    stderrTail: () => inner.stderrTail(),
    close: () => inner.close(),
  }
}

/** A server that once was modern and no longer knows `server/discover` is asked again for the next session. */
function watched(session: UpstreamSession, eras: Eras): UpstreamSession {
  return {
    ...session,
    get externalId() {
      return session.externalId
    },
    async send(message, signal) {
      const reply = await session.send(message, signal)
      if (message.method !== 'server/discover' || (reply.kind !== 'message' && reply.kind !== 'refused')) return reply
      const code = objectOf(readMessage(reply.bytes)?.['error'])?.['code']
      if (code === -32601 || (reply.kind === 'refused' && reply.status < 500 && code === undefined)) eras.forget()
      return reply
    },
  }
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
  let isModern = eras.isModernOnly
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
    const session = await inner.open({ ...options, era: 'modern' })
    const found = await discoverIn(session, client, ms).catch((thrown: unknown) => {
      slot.dispose(session)
      throw thrown
    })
    if (found.era === 'modern') return { session, found }
    slot.dispose(session)
    return undefined
  }
  const initialize = async (message: Outgoing, signal: AbortSignal): Promise<Reply> => {
    const params = paramsOf(message)
    const client = readClient(params)
    const known = isModern ? await initializeModern(message, client) : undefined
    if (known) return known
    const reply = await peek(await slot.current.send(message, signal))
    if (!reply.answer) return reply.whole
    const dated = reply.answer.kind === 'message' ? bridgeDates(message, params, reply.answer.bytes, slot) : undefined
    if (dated) return dated
    const sign = readsAsModern(reply.answer)
    if (sign === 'no') return reply.whole
    const second = await tryModern(client, sign === 'clearly' ? probing.knownMs : probing.discoverMs)
    if (!second) return reply.whole
    // A refusal that this client may have brought about by itself says nothing about others.
    if (sign === 'clearly' && client.revision === params['protocolVersion']) eras.learnModernOnly()
    slot.replace(second.session)
    return begin(message, client, second.found, second.session)
  }

  return {
    ended: slot.ended,
    get externalId() {
      return slot.current.externalId
    },
    send: (message, signal) =>
      message.kind === 'request' && message.method === 'initialize' ? initialize(message, signal) : slot.current.send(message, signal),
    listen: (headers, signal) => slot.current.listen(headers, signal),
    close: slot.close,
  }
}

/** The session behind a front, which may be another one after `initialize`. */
interface Slot {
  readonly current: UpstreamSession
  readonly ended: Promise<string>
  /** The same session in another form. */
  put(session: UpstreamSession): void
  /** Another session: the one before is closed. */
  replace(session: UpstreamSession): void
  /** Closes a session behind the caller's back; `close` waits for it. */
  dispose(session: UpstreamSession): void
  close(): Promise<void>
}

function createSlot(first: UpstreamSession, { server, log }: BridgeDeps): Slot {
  const ended = Promise.withResolvers<string>()
  const disposing = new Set<Promise<void>>()
  let current = first
  let isClosed = false

  const put = (session: UpstreamSession): void => {
    current = session
    void session.ended.then((reason) => current === session && ended.resolve(reason))
  }
  const dispose = (session: UpstreamSession): void => {
    const gone = session
      .close()
      .catch((error: unknown) => log.debug('a session with an MCP server did not end cleanly', { server, error }))
      .finally(() => disposing.delete(gone))
    disposing.add(gone)
  }
  put(first)
  return {
    get current() {
      return current
    },
    ended: ended.promise,
    put,
    dispose,
    replace(session) {
      if (isClosed) {
        dispose(session)
        throw new AppError('cancelled', `the session with MCP server "${server}" was closed`)
      }
      dispose(current)
      put(session)
    },
    async close() {
      isClosed = true
      await Promise.all([current.close(), ...disposing])
    },
  }
}

/** A legacy server of another date than the client asked for: the client gets its own date when that is known, and the server its. */
function bridgeDates(message: Outgoing, params: Fields, bytes: Buffer, slot: Slot): Reply | undefined {
  const asked = params['protocolVersion']
  const result = objectOf(readMessage(bytes)?.['result'])
  const answered = result?.['protocolVersion']
  if (!result || typeof asked !== 'string' || typeof answered !== 'string') return undefined
  if (asked === answered || !isLegacy(asked) || !isLegacy(answered)) return undefined
  slot.put(openDated(slot.current, { client: asked, server: answered }))
  return { kind: 'message', bytes: renderAnswer(message.id ?? 'null', { result: { ...result, protocolVersion: asked } }) }
}

/** The answer to `initialize`, whatever form it came in, beside a reply that is still whole. */
async function peek(reply: Reply): Promise<{ whole: Reply; answer: Extract<Reply, { kind: 'message' | 'refused' }> | undefined }> {
  if (reply.kind === 'message' || reply.kind === 'refused') return { whole: reply, answer: reply }
  if (reply.kind !== 'events') return { whole: reply, answer: undefined }
  const seen: SseEvent[] = []
  const iterator = reply.events[Symbol.asyncIterator]()
  for (;;) {
    const next = await iterator.next()
    if (next.done) break
    seen.push(next.value)
    if (seen.length > MAX_SEEN) throw new AppError('unavailable', 'the MCP server does not answer initialize', { origin: 'upstream' })
    if (readMessage(next.value.data)?.['method'] === undefined && next.value.hasData && next.value.data !== '')
      return { whole: { kind: 'events', events: resume(seen, iterator) }, answer: { kind: 'message', bytes: Buffer.from(next.value.data) } }
  }
  return { whole: { kind: 'events', events: resume(seen, iterator) }, answer: undefined }
}

/** Of messages before the answer to `initialize`. */
const MAX_SEEN = 100

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
