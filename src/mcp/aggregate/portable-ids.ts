import type { Sealer } from '../sealed.ts'

/** Ids that are sealed are for as long as a session may be kept up. */
const LIFE_MS = 30 * 86_400_000
/** Bytes of a longer word are not carried along: the id comes with every request. */
const MAX_BYTES = 2000

/**
 * The id of a session as the client is given it: with it the client carries what it said to begin with, so that another process with the same key
 * can go on where this one is not there any more. Sealed for its owner: it is no credential, and says nothing to the client.
 * @param params JSON text of the params of `initialize`.
 */
export function renderSessionId(sealer: Sealer, { id, owner }: { id: string; owner: string }, params: string, now: number): string {
  if (Buffer.byteLength(JSON.stringify(params)) > MAX_BYTES) return id
  return `${id}.${sealer.seal(params, bindingOf(id, owner), now + LIFE_MS)}`
}

/** The id as it is known here, and what the client carries with it. */
export function splitSessionId(text: string): { id: string; carried: string | undefined } {
  const dot = text.indexOf('.')
  return dot === -1 ? { id: text, carried: undefined } : { id: text.slice(0, dot), carried: text.slice(dot + 1) }
}

/** What this client began the session with; undefined for what was not made by us for this owner. */
export function findCarried(
  sealer: Sealer,
  { id, owner }: { id: string; owner: string },
  carried: string,
  now: number,
): string | undefined {
  try {
    const params = sealer.open(carried, bindingOf(id, owner), now)
    return typeof params === 'string' ? params : undefined
  } catch {
    return undefined // as unknown as any other
  }
}

function bindingOf(id: string, owner: string): string {
  return JSON.stringify(['session', id, owner])
}
