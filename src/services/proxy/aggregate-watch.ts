import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { AggregateEndpoint } from '../../mcp/aggregate/endpoint.ts'
import { botUserName } from '../../resources/bot.ts'
import { type Change, type ResourceFeed, SIGN_IN_PREFIX } from '../../resources/feed.ts'
import type { AggregateCallers } from './aggregate-callers.ts'
import { readOwner } from './aggregate-view.ts'

export interface AggregateWatchOptions {
  endpoint: Pick<AggregateEndpoint, 'cut' | 'forgetLists' | 'membersChanged'>
  callers: AggregateCallers
  feed: ResourceFeed
  log: Logger
}

/** What changes which servers callers see, but takes nobody's credential away. */
const SHARED: ReadonlySet<string> = new Set(['role', 'app', 'app_server', 'db', 'db_server', 'mcp_set', 'cluster_auth_preference'])

/** Ends the sessions of who may not stay, and tells those who stay that there may be other servers now. */
export class AggregateWatch {
  readonly #options: AggregateWatchOptions
  readonly #unsubscribe: () => void
  /** What each agent offers, without what its heartbeat alone changes. */
  readonly #offers = new Map<string, string>()
  #changes = noChanges()
  #isDue = false
  #looking = false

  constructor(options: AggregateWatchOptions) {
    this.#options = options
    for (const { metadata } of options.feed.list('app_server')) this.#noteOffer(metadata.name)
    this.#unsubscribe = options.feed.subscribe((change) => this.#apply(change))
  }

  /** Other servers can be reached than before, though nobody changed a resource. */
  agentsChanged(): void {
    this.#changes.shared = true
    this.#lookSoon()
  }

  #apply(change: Change): void {
    if (change.type !== 'revoked') {
      if (change.kind === 'app_server' && !this.#noteOffer(change.name)) return
      if (change.kind === 'user') this.#changes.users.add(change.name)
      else if (change.kind === 'bot') this.#changes.users.add(botUserName(change.name))
      else if (change.kind === 'lock') this.#changes.locks = true
      else if (SHARED.has(change.kind)) this.#changes.shared = true
      else return
    } else if (change.kind === 'upstream_sign_in') {
      // Servers have lists for them now that had none, or the other way round.
      this.#changes.users.add(change.name.slice(SIGN_IN_PREFIX.length))
    } else {
      this.#changes.credentials.add(change.name)
    }
    this.#lookSoon()
  }

  #lookSoon(): void {
    this.#options.callers.expire()
    // At once: who may not see something any more is not shown it from memory while others are asked about.
    this.#options.endpoint.forgetLists()
    this.#isDue = true
    if (!this.#looking) void this.#look()
  }

  /** Whether an agent's offer is another than before: a heartbeat says the same every minute. */
  #noteOffer(name: string): boolean {
    const offered = this.#options.feed.find('app_server', name)
    const before = this.#offers.get(name)
    if (!offered) return this.#offers.delete(name)
    const { revision: _, ...metadata } = offered.spec.app.metadata
    const after = JSON.stringify([metadata, offered.spec.app.spec])
    this.#offers.set(name, after)
    return after !== before
  }

  /** One look at a time: what changes meanwhile is seen by the next. Never throws. */
  async #look(): Promise<void> {
    const { endpoint, callers, log } = this.#options
    this.#looking = true
    try {
      while (this.#isDue) {
        this.#isDue = false
        const changes = this.#changes
        this.#changes = noChanges()
        const live = this.#liveOwners()
        const owners = new Set(live.map((viewOwner) => readOwner(viewOwner).owner))
        await callers.verify([...owners].filter((owner) => isSuspect(owner, changes)))
        endpoint.cut((viewOwner) => this.#reasonToCut(viewOwner))
        this.#tell(live, changes)
      }
    } catch (thrown) {
      log.error('MCP sessions could not be checked after a change', { error: toAppError(thrown).cause })
    } finally {
      this.#looking = false
    }
  }

  #liveOwners(): string[] {
    const owners: string[] = []
    this.#options.endpoint.cut((viewOwner) => {
      owners.push(viewOwner)
      return undefined
    })
    return owners
  }

  #reasonToCut(viewOwner: string): string | undefined {
    const { owner, set } = readOwner(viewOwner)
    const isGone = set !== undefined && !this.#options.feed.find('mcp_set', set)
    return this.#options.callers.refusalOf(owner) ?? (isGone ? `MCP set "${set}" no longer exists` : undefined)
  }

  #tell(live: readonly string[], { shared, users }: Changes): void {
    const { endpoint } = this.#options
    if (shared) return endpoint.membersChanged()
    for (const viewOwner of live) if (isOfAny(readOwner(viewOwner).owner, users)) endpoint.membersChanged(viewOwner)
  }

  close(): void {
    this.#unsubscribe()
  }
}

/** What changed since the last look. */
interface Changes {
  users: Set<string>
  /** Ids of what was revoked. */
  credentials: Set<string>
  locks: boolean
  /** Which servers there are, or who may use them. */
  shared: boolean
}

function noChanges(): Changes {
  return { users: new Set(), credentials: new Set(), locks: false, shared: false }
}

/** Whether the change may have made the caller one who may not stay. */
function isSuspect(owner: string, { users, credentials, locks }: Changes): boolean {
  return locks || isOfAny(owner, users) || [...credentials].some((id) => owner.endsWith(`:${id}`))
}

/** Of one of these users, or of one whose name goes on after a colon, who is asked about and told in vain. */
function isOfAny(owner: string, users: ReadonlySet<string>): boolean {
  const rest = owner.slice(owner.indexOf(':') + 1)
  return [...users].some((user) => rest === user || rest.startsWith(`${user}:`))
}
