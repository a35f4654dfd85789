import { AppError, toAppError } from '../../lib/errors.ts'
import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import { pause } from '../../lib/pause.ts'
import type { Timers } from '../../lib/timers.ts'
import { type ClientMessage, fieldsOf, readClientMessages } from '../message.ts'
import type { Sealer } from '../sealed.ts'
import { adopt, findRemembered, NOTHING_REMEMBERED, type Remembered, renderRemembered } from './remembered.ts'
import type { Session } from './session.ts'
import type { SessionShelf } from './session-shelf.ts'

export interface CommonsOptions {
  shelf: SessionShelf | undefined
  /** For texts of up to `MAX_SHARED` characters. */
  sealer: Sealer
  find: (id: string) => Session | undefined
  /** Ends a session here that ended elsewhere. */
  end: (session: Session) => void
  /** Whether a message of the client is for something that runs here; `everywhere`: here too. */
  isWanted: (session: Session, message: ClientMessage) => boolean | 'everywhere'
  deliver: (session: Session, message: ClientMessage) => Promise<void>
  ids: Ids
  now: () => number
  timers: Timers
  log: Logger
}

/** What is kept of a session when it is adopted. */
export interface Recalled {
  remembered: Remembered
  revision: number
}

/** Characters of what is kept, sealed. */
export const MAX_SHARED = 512 * 1024
/** Bytes of a message that is carried to where it belongs. */
export const MAX_CARRIED = 256 * 1024
/** As long as a client may carry its id. */
const LIFE_MS = 30 * 86_400_000
const MESSAGE_MS = 60_000
/** When it is looked whether somebody took a message: all are told of it at once. */
const LOOKS_MS = [100, 200, 400, 800, 1500]
const ATTEMPTS = 5
const MAX_JOINING = 10_000
/** Of one session at a time. */
const MAX_SENDING = 20
/** Notifications of one session within `SPREAD_MS`: each is a write in the one store, and every replica looks at it. */
const MAX_SPREAD = 20
const SPREAD_MS = 5000
/** Changes of a session that wait for a store that is away; the oldest are then known here only. */
const MAX_PENDING = 2000

interface Standing {
  /** Of what is kept, as far as this process knows. */
  revision: number
  /** Its reads and writes come one after the other. */
  last: Promise<void>
  /** Changes that are not kept yet, oldest first; what is kept is read with them. */
  pending: Alteration[]
  /** The write that is to come, which takes all of them. */
  next: Promise<void> | undefined
  /** Messages on their way from here. */
  sending: number
  /** Notifications that went out just now. */
  spread: number
}

type Alteration = (before: Remembered) => Remembered

/**
 * What sessions here have in common with those of the same id in other processes: what the client subscribed to, the level of its log, and that it
 * ended; and messages of the client that came here and are for a request that runs there.
 */
export class Commons {
  readonly #options: CommonsOptions
  readonly #standings = new WeakMap<Session, Standing>()
  /** Names of messages that are on their way from here. */
  readonly #sent = new Set<string>()
  readonly #unsubscribe: () => void
  readonly #closing = new AbortController()
  /** A crowd of sessions that come from a replica that died must not stand in the way of what else is to be kept. */
  #joining: Promise<void> = Promise.resolve()
  #joiners = 0

  constructor(options: CommonsOptions) {
    this.#options = options
    this.#unsubscribe = options.shelf?.onKept((name) => this.#onKept(name)) ?? (() => {})
  }

  /** What another process kept of a session; nothing while that cannot be had, for the rest of the session is with the client. */
  async recall(id: string, owner: string): Promise<Recalled | undefined> {
    try {
      const found = await this.#options.shelf?.find(id)
      return found && { remembered: this.#open(id, owner, found.body) ?? NOTHING_REMEMBERED, revision: found.revision }
    } catch (thrown) {
      this.#warn('what another replica knows of an MCP session cannot be had', thrown)
      return undefined
    }
  }

  /** The session goes on here: those who had it before are told, and tell what comes to them. */
  join(session: Session, recalled: Recalled | undefined): void {
    session.isShared = true
    if (recalled) {
      this.#standingOf(session).revision = recalled.revision
      adopt(session, recalled.remembered)
    }
    if (!this.#options.shelf || this.#joiners >= MAX_JOINING) return
    this.#joiners++
    this.#joining = this.#joining
      .then(() => (session.signal.aborted ? undefined : this.change(session, (remembered) => remembered)))
      .finally(() => this.#joiners--)
  }

  /** Keeps what the client just changed, with what was changed before and could not be kept. When that fails it still holds here, and is logged. */
  change(session: Session, alter: Alteration): Promise<void> {
    const { shelf } = this.#options
    if (!shelf) return Promise.resolve()
    const standing = this.#standingOf(session)
    if (standing.pending.push(alter) > MAX_PENDING) standing.pending.shift()
    standing.next ??= this.#inTurn(standing, 'a change of an MCP session is not known to other replicas', async () => {
      standing.next = undefined
      const taken = [...standing.pending]
      await this.#keep(shelf, session, taken)
      standing.pending = standing.pending.filter((one) => !taken.includes(one))
    })
    return standing.next
  }

  async #keep(shelf: SessionShelf, session: Session, alterations: readonly Alteration[]): Promise<void> {
    const standing = this.#standingOf(session)
    const { id: name, owner } = session
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await shelf.find(name)
      const before = (found && this.#open(name, owner, found.body)) ?? NOTHING_REMEMBERED
      const after = alterations.reduce((remembered, alter) => alter(remembered), before)
      const revision = found?.revision ?? 0
      const body = this.#seal(name, owner, renderRemembered(after), LIFE_MS)
      if (!(await shelf.keep({ name, owner, revision, expiresAt: this.#options.now() + LIFE_MS, body }))) continue
      if (revision > standing.revision) session.isShared = true
      standing.revision = revision + 1
      // Of that we are told once more, but it is no news then.
      if (after.hasEnded) return this.#options.end(session)
      const later = standing.pending.filter((one) => !alterations.includes(one))
      adopt(
        session,
        later.reduce((remembered, alter) => alter(remembered), after),
      )
      return
    }
    throw new AppError('aborted', 'others changed it at the same time')
  }

  /** Whether anything is kept of it that has to be ended with it. */
  isKept(session: Session): boolean {
    return session.isShared || (this.#standings.get(session)?.revision ?? 0) > 0
  }

  /** Carries a message of the client to whichever process wants it; whether one took it. @throws AppError unavailable, resource_exhausted. */
  async carry(session: Session, bytes: Buffer): Promise<boolean> {
    const { shelf, timers } = this.#options
    if (!shelf || (!session.isShared && !(await shelf.find(session.id)))) return false
    const standing = this.#standingOf(session)
    if (standing.sending >= MAX_SENDING)
      throw new AppError('resource_exhausted', 'too many answers of this MCP session are on their way to other replicas: wait')
    standing.sending++
    let name: string | undefined
    try {
      name = await this.#send(session, bytes)
      for (const ms of LOOKS_MS) {
        await pause(ms, this.#closing.signal, timers)
        if (!(await shelf.find(name))) return true
      }
      return (await shelf.take(name)) === undefined
    } finally {
      standing.sending--
      if (name !== undefined) this.#sent.delete(name)
    }
  }

  /** The same without waiting for anybody to take it: for what is no loss. */
  spread(session: Session, bytes: Buffer): void {
    if (!this.#options.shelf || !session.isShared || bytes.length > MAX_CARRIED) return
    const { timers } = this.#options
    const standing = this.#standingOf(session)
    if (standing.spread >= MAX_SPREAD) return
    standing.spread++
    timers.after(SPREAD_MS, () => standing.spread--)
    this.#send(session, bytes).then(
      (name) => void timers.after(MESSAGE_MS, () => this.#sent.delete(name)),
      (thrown: unknown) => this.#warn('other replicas were not told of a notification', thrown),
    )
  }

  close(): void {
    this.#unsubscribe()
    this.#closing.abort()
  }

  async #send(session: Session, bytes: Buffer): Promise<string> {
    const { shelf, ids, now } = this.#options
    const { id, owner } = session
    const name = `${id} ${ids.token(9)}`
    this.#sent.add(name)
    try {
      // In base64 it has the same size whatever it says: as JSON within JSON it could have twice as much.
      const body = this.#seal(name, owner, bytes.toString('base64'), MESSAGE_MS)
      await shelf?.keep({ name, owner, body, revision: 0, expiresAt: now() + MESSAGE_MS })
      return name
    } catch (thrown) {
      this.#sent.delete(name)
      throw thrown
    }
  }

  #onKept(name: string): void {
    const [id = '', message] = name.split(' ')
    const session = this.#options.find(id)
    if (!session || this.#sent.has(name)) return
    const standing = this.#standingOf(session)
    if (message === undefined) void this.#inTurn(standing, 'a change by another replica is not known here', () => this.#follow(session))
    else this.#take(session, name).catch((thrown: unknown) => this.#warn('a message that came to another replica did not get here', thrown))
  }

  async #follow(session: Session): Promise<void> {
    const standing = this.#standingOf(session)
    const found = await this.#options.shelf?.find(session.id)
    if (!found || found.revision <= standing.revision || session.signal.aborted) return
    const remembered = this.#open(session.id, session.owner, found.body)
    if (!remembered) return
    standing.revision = found.revision
    session.isShared = true
    if (remembered.hasEnded) this.#options.end(session)
    else
      adopt(
        session,
        standing.pending.reduce((before, alter) => alter(before), remembered),
      )
  }

  async #take(session: Session, name: string): Promise<void> {
    const { shelf, isWanted, deliver } = this.#options
    const found = await shelf?.find(name)
    const text = found && this.#unseal(name, session.owner, found.body)
    const [message] = typeof text === 'string' ? readClientMessages(Buffer.from(text, 'base64')).messages : []
    if (!message) return
    session.isShared = true
    const wanted = isWanted(session, message)
    if (wanted === false || (wanted === true && (await shelf?.take(name)) === undefined)) return
    await deliver(session, message)
  }

  #open(id: string, owner: string, body: string): Remembered | undefined {
    return findRemembered(this.#unseal(id, owner, body))
  }

  #seal(name: string, owner: string, value: unknown, ms: number): string {
    return this.#options.sealer.seal({ value }, bindingOf(name, owner), this.#options.now() + ms)
  }

  /** Undefined for what was not sealed by us for this owner. */
  #unseal(name: string, owner: string, body: string): unknown {
    try {
      return fieldsOf(this.#options.sealer.open(body, bindingOf(name, owner), this.#options.now()))?.['value']
    } catch {
      return undefined // as unknown as any other
    }
  }

  #standingOf(session: Session): Standing {
    const known = this.#standings.get(session)
    if (known) return known
    const standing: Standing = { revision: 0, last: Promise.resolve(), pending: [], next: undefined, sending: 0, spread: 0 }
    this.#standings.set(session, standing)
    return standing
  }

  #inTurn(standing: Standing, failure: string, work: () => Promise<void>): Promise<void> {
    standing.last = standing.last.then(work).catch((thrown: unknown) => this.#warn(failure, thrown))
    return standing.last
  }

  #warn(message: string, thrown: unknown): void {
    if (!this.#closing.signal.aborted) this.#options.log.warn(message, { error: toAppError(thrown).message })
  }
}

function bindingOf(name: string, owner: string): string {
  return JSON.stringify(['shared', name, owner])
}
