import { AppError } from '../../../lib/errors.ts'
import type { OpenOptions, Upstream } from '../../upstream/upstream.ts'
import type { BridgeDeps } from '../bridge.ts'
import type { Declared } from './capabilities.ts'
import { shakeHands } from './handshake.ts'
import { createLegacySession, type LegacySession } from './legacy-session.ts'

/** What a session is needed for. */
export interface Need {
  declared: Declared
  clientInfo: unknown
}

/** A session that stays open until it is given back. */
export interface Taken {
  session: LegacySession
  release(): void
  /** The same session for longer: it is not ended for idleness before that is given back, and others may use it. */
  keep(): Taken
}

/**
 * The sessions one modern client has with a legacy server, each opened with the capabilities of the requests it serves. All methods that
 * open one reject with the upstream's AppError, or resource_exhausted when too many are in use.
 */
export interface Sessions {
  /** For a request. Clients that can be asked have it to themselves: nothing tells whose call a question belongs to. Others share one. */
  take(need: Need): Promise<Taken>
  /** One of these capabilities whose server is listened to, whoever else uses it: the one used last, where its state is. */
  pin(need: Need): Promise<Taken>
  /** Ends those that nobody used for a while. */
  sweep(): void
  close(): Promise<void>
}

interface Member {
  key: string
  session: LegacySession
  requests: number
  pins: number
  usedAt: number
}

type Hold = 'requests' | 'pins'

/** One for everybody, counted as in use until the first who waits has it. */
interface Opening {
  member: Promise<Member>
  isAdopted: boolean
}

const MAX_SESSIONS = 40
const IDLE_MS = 5 * 60_000

export function createSessions(inner: Upstream, options: OpenOptions, deps: BridgeDeps): Sessions {
  const { server, now } = deps
  const members = createMembers(inner, options, deps)
  const opening = new Map<string, Opening>()

  /** Several that come at once wait for the same one. */
  const openForAll = async (need: Need, as: Hold): Promise<Taken> => {
    const { key } = need.declared
    const under: Opening = opening.get(key) ?? { member: members.open(need).finally(() => opening.delete(key)), isAdopted: false }
    opening.set(key, under)
    const member = await under.member
    const taken = hold(member, as, now)
    if (!under.isAdopted) member.requests--
    under.isAdopted = true
    return taken
  }
  const lastUsed = (key: string, fits: (member: Member) => boolean): Member | undefined =>
    [...members.all].filter((member) => member.key === key && fits(member)).toSorted((a, b) => b.usedAt - a.usedAt)[0]

  return {
    async take(need) {
      if (members.isClosed) throw closed(server)
      const { key, isAskable } = need.declared
      const found = lastUsed(key, ({ requests }) => !isAskable || requests === 0)
      if (found) return hold(found, 'requests', now)
      return isAskable ? adopt(await members.open(need), 'requests', now) : openForAll(need, 'requests')
    },
    async pin(need) {
      if (members.isClosed) throw closed(server)
      const { key } = need.declared
      const found = lastUsed(key, ({ pins }) => pins > 0) ?? lastUsed(key, () => true)
      return found ? hold(found, 'pins', now) : openForAll(need, 'pins')
    },
    sweep() {
      for (const member of members.all) if (isFree(member) && now() - member.usedAt >= IDLE_MS) members.end(member)
    },
    close: members.close,
  }
}

interface Members {
  readonly all: Set<Member>
  readonly isClosed: boolean
  /** Makes room when there are too many and one is free. It counts as in use by a request, so that nobody takes it before its opener. */
  open(need: Need): Promise<Member>
  end(member: Member): void
  close(): Promise<void>
}

function createMembers(inner: Upstream, options: OpenOptions, { server, now, log, version }: BridgeDeps): Members {
  const all = new Set<Member>()
  const opening = new Set<Promise<Member>>()
  const ending = new Set<Promise<void>>()
  let isClosed = false

  const end = (member: Member): void => {
    all.delete(member)
    const gone = member.session
      .close()
      .catch((error: unknown) => log.debug('the session of an MCP server could not be ended', { server, error }))
      .finally(() => ending.delete(gone))
    ending.add(gone)
  }
  const makeRoom = (): void => {
    if (all.size + opening.size < MAX_SESSIONS) return
    const [idlest] = [...all].filter(isFree).toSorted((a, b) => a.usedAt - b.usedAt)
    if (!idlest) throw tooMany(server)
    end(idlest)
  }
  const connect = async ({ declared: { key, capabilities }, clientInfo }: Need): Promise<Member> => {
    const connection = await inner.open({ ...options, era: 'legacy' })
    const facts = await shakeHands(connection, { server, capabilities, clientInfo, version }).catch(async (error: unknown) => {
      await connection.close()
      throw error
    })
    const session = createLegacySession({ inner: connection, server, facts, log })
    const member: Member = { key, session, requests: 1, pins: 0, usedAt: now() }
    all.add(member)
    const onGone = (): void => {
      if (all.has(member)) end(member)
    }
    session.gone.addEventListener('abort', onGone, { once: true })
    if (!isClosed) return member
    end(member)
    throw closed(server)
  }

  return {
    all,
    end,
    get isClosed() {
      return isClosed
    },
    async open(need) {
      makeRoom()
      const opened = connect(need).finally(() => opening.delete(opened))
      opening.add(opened)
      return opened
    },
    async close() {
      isClosed = true
      for (const member of all) end(member)
      await Promise.allSettled(opening)
      await Promise.all(ending)
    },
  }
}

function hold(member: Member, as: Hold, now: () => number): Taken {
  member[as]++
  return adopt(member, as, now)
}

/** Takes over what was counted already. */
function adopt(member: Member, as: Hold, now: () => number): Taken {
  let isHeld = true
  member.usedAt = now()
  return {
    session: member.session,
    keep: () => hold(member, 'pins', now),
    release() {
      if (!isHeld) return
      isHeld = false
      member[as]--
      member.usedAt = now()
    },
  }
}

function isFree({ requests, pins }: Member): boolean {
  return requests === 0 && pins === 0
}

function tooMany(server: string): AppError {
  return new AppError(
    'resource_exhausted',
    `${MAX_SESSIONS} calls to MCP server "${server}" run or wait for your answers: answer or cancel some first`,
  )
}

function closed(server: string): AppError {
  return new AppError('cancelled', `the session with MCP server "${server}" was closed`)
}
