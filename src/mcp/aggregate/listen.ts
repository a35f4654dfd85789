import { toAppError } from '../../lib/errors.ts'
import { renderExact } from '../../lib/json-scan.ts'
import type { Logger } from '../../lib/log.ts'
import { frameSse, type SseEvent } from '../../lib/sse.ts'
import { type ClientMessage, type Fields, fieldsOf } from '../message.ts'
import type { Outlet } from '../outlet.ts'
import type { Catalogue } from './catalogue.ts'
import type { Channel } from './channel.ts'
import { Debounce } from './debounce.ts'
import { follow } from './follow.ts'
import { translate } from './incoming.ts'
import type { AggregateLimits } from './limits.ts'
import { LIST_KINDS, type ListKind } from '../list-kinds.ts'
import { replaceParams } from './splice.ts'
import type { Timers } from '../../lib/timers.ts'
import { exposeId, exposeUri } from './uris.ts'
import type { Member, View } from './view.ts'
import { filterOf, type Wanted } from './wanted.ts'

/** What every subscription is made with. */
export interface ListenDeps {
  timers: Timers
  limits: AggregateLimits
  now: () => number
  log: Logger
  catalogue: Catalogue
}

interface ListenOptions {
  deps: ListenDeps
  view: View
  message: ClientMessage
  channel: Channel
  outlet: Outlet
  wanted: Wanted
}

const ID_KEY = 'io.modelcontextprotocol/subscriptionId'
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged'
const MAX_WAITING = 1000
const MAX_WAITING_BYTES = 1024 * 1024

/**
 * One `subscriptions/listen` of a client: sent on to each member concerned under the same id, so that what they send fits the client's
 * subscription as it is. Acknowledged once, for all.
 */
export class Listen {
  readonly #options: ListenOptions
  readonly #debounce: Debounce
  readonly #members = new Map<string, AbortController>()
  readonly #unacknowledged = new Set<string>()
  readonly #ended = Promise.withResolvers<void>()
  /** URIs and tasks that their servers promised to tell of, as the client knows them. */
  readonly #promised: { uris: string[]; tasks: string[] } = { uris: [], tasks: [] }
  #isAcknowledged = false
  #isEnded = false
  /** Events that came before the acknowledgement. */
  #waiting: string[] = []
  #waitingBytes = 0

  constructor(options: ListenOptions) {
    this.#options = options
    const { timers, limits } = options.deps
    this.#debounce = new Debounce(timers, limits.debounceMs, (kind) => {
      const data = `{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed","params":{"_meta":${this.#meta()}}}`
      void this.#write(data)
    })
  }

  get owner(): string {
    return this.#options.view.owner
  }

  /** Settles when it is over. */
  async run(members: readonly Member[]): Promise<void> {
    const { deps, outlet } = this.#options
    outlet.open('events')
    outlet.keepAlive() // sends the head at once
    const cancelTimer = deps.timers.after(deps.limits.acknowledgeMs, () => this.#acknowledge())
    try {
      this.#attachAll(members)
      if (this.#unacknowledged.size === 0) this.#acknowledge()
      await this.#ended.promise
    } finally {
      cancelTimer()
      this.close()
    }
  }

  mustLeave(): boolean {
    const { view, deps } = this.#options
    return view.reasonToLeave() !== undefined || view.expiresAt <= deps.now()
  }

  /** The members may be others now. */
  async membersChanged(): Promise<void> {
    const members = await this.#options.view.members()
    const names = new Set(members.map(({ name }) => name))
    for (const [server, stopping] of this.#members) {
      if (names.has(server)) continue
      stopping.abort()
      this.#members.delete(server)
    }
    this.#attachAll(members)
    for (const kind of LIST_KINDS) this.changed(kind)
  }

  /** The client should read this list again. */
  changed(kind: ListKind): void {
    if (this.#options.wanted.kinds.has(kind) && !this.#isEnded) this.#debounce.changed(kind)
  }

  keepAlive(): void {
    this.#options.outlet.keepAlive()
  }

  /** Ends it in the way of the protocol: with the result of the request. */
  finish(): void {
    if (this.#isEnded) return
    const { outlet, message } = this.#options
    outlet.release()
    const result = `{"resultType":"complete","_meta":${this.#meta()}}`
    void outlet.write(frameSse({ data: `{"jsonrpc":"2.0","id":${message.id ?? 'null'},"result":${result}}` }))
    this.close()
  }

  /** Ends it. */
  close(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    for (const stopping of this.#members.values()) stopping.abort()
    this.#debounce.close()
    this.#options.outlet.end()
    this.#ended.resolve()
  }

  #attachAll(members: readonly Member[]): void {
    const { deps } = this.#options
    for (const member of members.slice(0, deps.limits.members)) {
      if (!this.#members.has(member.name) && !this.#isEnded) this.#attach(member)
    }
  }

  #attach(member: Member): void {
    const { wanted, deps, channel, message } = this.#options
    const server = member.name
    const uris = wanted.uris.get(server) ?? []
    const tasks = wanted.tasks.get(server) ?? []
    if (wanted.kinds.size === 0 && uris.length === 0 && tasks.length === 0) return
    const stopping = new AbortController()
    this.#members.set(server, stopping)
    if (!this.#isAcknowledged) this.#unacknowledged.add(server)
    const bytes = replaceParams(message.bytes, { notifications: JSON.stringify(filterOf(wanted.kinds, uris, tasks)) })
    const { timers, limits, log } = deps
    const followed = follow({
      timers,
      signal: stopping.signal,
      openMs: limits.openMs,
      open: (_, signal) => channel.send(member, { bytes, method: message.method }, signal),
      onEvent: (event) => this.#pass(event, server),
      onFault: (thrown) => {
        this.#settle(server)
        log.debug('the subscription at a member broke off', { server, error: toAppError(thrown).message })
      },
    })
    void followed.then(() => this.#settle(server))
  }

  async #pass(event: SseEvent, server: string): Promise<void> {
    if (event.data.length === 0) return
    const text = event.data.toString('utf8')
    const notice = fieldsOf(readJson(text))
    if (notice?.['method'] === ACKNOWLEDGED) {
      // Once from each, as long as it counts.
      if (this.#unacknowledged.has(server)) this.#promise(server, fieldsOf(fieldsOf(notice['params'])?.['notifications']))
      return this.#settle(server)
    }
    const incoming = translate(text, { server, questions: undefined, methodOf: () => undefined, isForeignToken: () => true })
    if (incoming.kind !== 'notification' || incoming.text === undefined) return
    if (!incoming.changed) return this.#write(incoming.text)
    this.#options.deps.catalogue.changed(this.#options.channel, server, incoming.changed)
    this.changed(incoming.changed)
  }

  #promise(server: string, honoured: Fields | undefined): void {
    const { wanted } = this.#options
    const kept = (named: unknown, asked: readonly string[] = []): string[] => {
      const promised = new Set<unknown>(Array.isArray(named) ? named : [])
      return asked.filter((one) => promised.has(one))
    }
    this.#promised.uris.push(...kept(honoured?.['resourceSubscriptions'], wanted.uris.get(server)).map((uri) => exposeUri(server, uri)))
    this.#promised.tasks.push(...kept(honoured?.['taskIds'], wanted.tasks.get(server)).map((id) => exposeId(server, id)))
  }

  #settle(server: string): void {
    if (this.#unacknowledged.delete(server) && this.#unacknowledged.size === 0) this.#acknowledge()
  }

  /** The first message of the stream, whatever the members have sent by then. What changes of members makes lists change, so those are ours. */
  #acknowledge(): void {
    if (this.#isAcknowledged || this.#isEnded) return
    this.#isAcknowledged = true
    const { wanted, outlet } = this.#options
    const filter = filterOf(wanted.kinds, this.#promised.uris, this.#promised.tasks)
    const params = `{"notifications":${renderExact(filter)},"_meta":${this.#meta()}}`
    const texts = [`{"jsonrpc":"2.0","method":"${ACKNOWLEDGED}","params":${params}}`, ...this.#waiting]
    this.#waiting = []
    for (const data of texts) void outlet.write(frameSse({ data }))
    const isEmpty = Object.keys(filter).length === 0 && this.#members.size === 0
    if (isEmpty) this.finish()
  }

  async #write(text: string): Promise<void> {
    if (this.#isEnded) return
    if (this.#isAcknowledged) return this.#options.outlet.write(frameSse({ data: text }))
    this.#waitingBytes += text.length
    if (this.#waiting.length < MAX_WAITING && this.#waitingBytes <= MAX_WAITING_BYTES) this.#waiting.push(text)
  }

  #meta(): string {
    return `{${JSON.stringify(ID_KEY)}:${this.#options.message.id ?? 'null'}}`
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // not JSON: nothing that a client could use
  }
}
