import { fieldsOf } from '../message.ts'
import type { Session } from './session.ts'
import type { Subscribed } from './subscriptions.ts'
import type { Placed } from './uris.ts'

/** What of a session has to be the same wherever its requests come. */
export interface Remembered {
  /** JSON text of the level of the last `logging/setLevel`. */
  level: string | undefined
  subscribed: readonly Subscribed[]
  hasEnded: boolean
}

export const NOTHING_REMEMBERED: Remembered = { level: undefined, subscribed: [], hasEnded: false }

/** As a value for JSON. */
export function renderRemembered({ level, subscribed, hasEnded }: Remembered): unknown {
  return { level, subscribed: subscribed.map(({ uri, count }) => [uri, count]), ended: hasEnded }
}

/** Undefined for anything that `renderRemembered` does not make. */
export function findRemembered(value: unknown): Remembered | undefined {
  const fields = fieldsOf(value)
  if (!fields || !Array.isArray(fields['subscribed'])) return undefined
  const { level, ended } = fields
  return {
    level: typeof level === 'string' ? level : undefined,
    subscribed: fields['subscribed'].flatMap((one: unknown) => {
      const [uri, count]: unknown[] = Array.isArray(one) ? one.map((part: unknown) => part) : []
      return typeof uri === 'string' && typeof count === 'number' ? [{ uri, count }] : []
    }),
    hasEnded: ended === true,
  }
}

/** What the client asked for elsewhere holds for the session here, too. Its members are told; those that it hears of only now are asked for that. */
export function adopt(session: Session, { level, subscribed }: Remembered): void {
  if (level !== undefined && level !== session.level) void session.setLevel(level)
  const { added, removed } = session.subscriptions.become(subscribed)
  const tell = (method: string, { server, original }: Placed): void =>
    void session.tell(session.request(method, JSON.stringify({ uri: original })), server)
  for (const placed of added) tell('resources/subscribe', placed)
  for (const placed of removed) tell('resources/unsubscribe', placed)
  if (session.streams.current) session.reachSubscribed()
}
