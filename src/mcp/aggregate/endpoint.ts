import { randomBytes } from 'node:crypto'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import { classify } from '../eras/classify.ts'
import { findRequestId, readClientMessages } from '../message.ts'
import { Outlet } from '../outlet.ts'
import { createSealer } from '../sealed.ts'
import { Catalogue } from './catalogue.ts'
import { Commons, MAX_SHARED } from './commons.ts'
import type { Engine } from './engine.ts'
import { Health, type HealthRecord } from './health.ts'
import { Introductions } from './introductions.ts'
import { deleteSession, openSession, openStream, serveSession } from './legacy.ts'
import { AGGREGATE_LIMITS, type AggregateLimits } from './limits.ts'
import { Listens } from './listens.ts'
import { LIST_KINDS, type ListKind } from '../list-kinds.ts'
import { Load } from './load.ts'
import { serveModern } from './modern.ts'
import { Offered } from './offered.ts'
import { Openings } from './openings.ts'
import { deliver, isWanted } from './one-way.ts'
import type { Peer } from './peer.ts'
import { Sessions } from './sessions.ts'
import type { SessionShelf } from './session-shelf.ts'
import { realTimers, type Timers } from '../../lib/timers.ts'
import type { View } from './view.ts'

export interface AggregateOptions {
  /** Of our own serverInfo. */
  name: string
  version: string
  /** Milliseconds since 1970. */
  now: () => number
  timers?: Timers
  ids: Ids
  /** 32 bytes that seal cursors: the same on every proxy when a client may be served by several. */
  key: Uint8Array
  random?: (bytes: number) => Buffer
  log: Logger
  limits?: Partial<AggregateLimits>
  /** Where sessions that may hop between processes are kept; without one they may not. */
  shelf?: SessionShelf | undefined
}

/** How often lists that are kept are looked through. */
const LISTS_MS = 1000

/**
 * One MCP endpoint that shows all servers of a view as one: Streamable HTTP of every revision. To the members it is a client in the era of
 * its own client, so it can do nothing that the endpoints of the single servers would not do for this caller.
 */
export class AggregateEndpoint {
  readonly #engine: Engine
  #sweptListsAt: number
  #closed: AppError | undefined

  constructor({ name, version, now, timers = realTimers, ids, key, random = randomBytes, log, limits: changed, shelf }: AggregateOptions) {
    const limits = { ...AGGREGATE_LIMITS, ...changed }
    const health = new Health(now, log)
    const offered = new Offered(limits, timers, now)
    const catalogue = new Catalogue({ limits, timers, now, health, offered, onLate: (owner, kind) => this.#changed(owner, [kind]) })
    const introductions = new Introductions(timers, health)
    const onOpened = (owner: string, { member, instructions }: Peer): void => introductions.learn(owner, member.name, instructions)
    const sessions = new Sessions({ ids, now, timers, log, limits, health, onOpened, isShared: shelf !== undefined })
    this.#engine = {
      serverInfo: { name, version },
      now,
      timers,
      ids,
      log,
      limits,
      sealer: createSealer(Buffer.from(key), random),
      health,
      load: new Load(limits),
      introductions,
      offered,
      catalogue,
      openings: new Openings(),
      sessions,
      commons: new Commons({
        shelf,
        sealer: createSealer(Buffer.from(key), random, MAX_SHARED),
        find: (id) => sessions.find(id),
        end: (session) => void sessions.end(session),
        isWanted,
        deliver,
        ids,
        now,
        timers,
        log,
      }),
      listens: new Listens({ timers, limits, now, log, catalogue }),
    }
    this.#sweptListsAt = now()
  }

  /** Answers an exchange; never throws: what goes wrong becomes the answer. */
  async serve(exchange: HttpExchange, view: View): Promise<void> {
    try {
      this.#assertWelcome(view)
      if (exchange.method === 'POST') await this.#post(exchange, view)
      else if (exchange.method === 'GET') await openStream(this.#engine, exchange, view)
      else if (exchange.method === 'DELETE') await deleteSession(this.#engine, exchange, view)
      else throw new AppError('invalid_argument', `method ${exchange.method} is not allowed`, { details: { http: 405, rpc: -32600 } })
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code === 'internal') this.#engine.log.error('request failed', { error })
      await new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
    }
  }

  /** The members of one owner's view, or of every view, may be others now: clients that listen are told to read their lists again. */
  membersChanged(owner?: string): void {
    const { catalogue, listens, sessions, log } = this.#engine
    catalogue.forget(owner)
    for (const session of sessions.of(owner)) {
      for (const kind of LIST_KINDS) session.streams.current?.changed(kind)
      session.membersChanged().catch((thrown: unknown) => {
        log.debug('the servers of a session cannot be had', { error: toAppError(thrown).message })
      })
    }
    for (const listen of listens.of(owner)) {
      listen.membersChanged().catch((thrown: unknown) => {
        log.debug('a subscription ends: its servers cannot be had', { error: toAppError(thrown).message })
        listen.finish()
      })
    }
  }

  /** What servers listed before is shown to nobody any more: it may rest on what has just changed. */
  forgetLists(): void {
    this.#engine.catalogue.forget()
  }

  /** Ends every session and stream of the owners for which `reasonFor` gives a reason. */
  cut(reasonFor: (owner: string) => string | undefined): void {
    this.#engine.sessions.cut(reasonFor)
    this.#engine.listens.cut(reasonFor)
  }

  /** What has to be done from time to time, a part of it; to be called ten times a second. */
  sweep(): void {
    const { now, sessions, listens, catalogue, health } = this.#engine
    sessions.sweep()
    listens.sweep()
    if (now() - this.#sweptListsAt < LISTS_MS) return
    this.#sweptListsAt = now()
    catalogue.sweep()
    health.sweep()
  }

  /** Ends every session and stream; nothing is served any more. */
  async close(): Promise<void> {
    this.#closed = new AppError('unavailable', 'the gateway is going down')
    this.#engine.listens.close()
    this.#engine.commons.close()
    await this.#engine.sessions.close(this.#closed)
  }

  /** What is wrong with servers now; oldest first, bounded. */
  health(): readonly HealthRecord[] {
    return this.#engine.health.list()
  }

  /** What is wrong with servers for any caller, as far as is known: lasts some minutes longer, so that callers who see different tools do not make it flap. */
  quarantine(): readonly HealthRecord[] {
    return this.#engine.health.quarantine()
  }

  async #post(exchange: HttpExchange, view: View): Promise<void> {
    const { batch, messages } = readClientMessages(exchange.body)
    const dialect = classify(messages, batch, exchange.headers)
    const [message] = messages
    if (dialect.era === 'modern' && message) return serveModern(this.#engine, exchange, view, message)
    if (dialect.era === 'legacy' && dialect.opens && message) return openSession(this.#engine, exchange, view, message)
    return serveSession(this.#engine, exchange, view, { batch, messages })
  }

  #assertWelcome(view: View): void {
    if (this.#closed) throw this.#closed
    const reason = view.reasonToLeave()
    if (reason !== undefined) throw new AppError('permission_denied', reason, { details: { rpc: -32603 } })
    if (view.expiresAt <= this.#engine.now()) throw new AppError('unauthenticated', 'the credential has expired: sign in again')
  }

  #changed(owner: string, kinds: readonly ListKind[]): void {
    for (const kind of kinds) {
      for (const session of this.#engine.sessions.of(owner)) session.streams.current?.changed(kind)
      for (const listen of this.#engine.listens.of(owner)) listen.changed(kind)
    }
  }
}
