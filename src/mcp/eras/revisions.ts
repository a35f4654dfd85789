/** A published revision of MCP; research and sources: modelcontextprotocol.io/specification/REVISION. */
interface RevisionRow {
  /** `legacy`: initialize handshake, sessions; `modern`: every request carries its own metadata. The specification's own terms. */
  era: 'legacy' | 'modern'
  /** Whether a POST may carry an array of messages (2025-03-26, Base Protocol, Batching). */
  batches: boolean
  /** Whether a client may come back by GET for the rest of a stream (2025-03-26, Streamable HTTP, Resumability and Redelivery). */
  resumes: boolean
  /** Whether clients understand an event with an id and no data, which lets them come back for all that follows (2025-11-25, Streamable HTTP). */
  primes: boolean
}

export const REVISIONS: Readonly<Record<string, RevisionRow>> = {
  '2024-11-05': { era: 'legacy', batches: false, resumes: false, primes: false },
  '2025-03-26': { era: 'legacy', batches: true, resumes: true, primes: false },
  '2025-06-18': { era: 'legacy', batches: false, resumes: true, primes: false },
  '2025-11-25': { era: 'legacy', batches: false, resumes: true, primes: true },
  '2026-07-28': { era: 'modern', batches: false, resumes: false, primes: false },
}

/** A draft of the first revision: the first releases of the official SDKs answer with it, and those of today still take it. */
export const UNPUBLISHED = '2024-10-07'

export const MODERN_REVISIONS: readonly string[] = Object.keys(REVISIONS).filter((revision) => REVISIONS[revision]?.era === 'modern')

export function isModern(revision: string | undefined): boolean {
  return revision !== undefined && REVISIONS[revision]?.era === 'modern'
}

/** Whether a header names a revision that a legacy session may carry. */
export function isLegacy(revision: string): boolean {
  return REVISIONS[revision]?.era === 'legacy'
}

/** Requests of the legacy revisions that the modern one has not (2026-07-28, changelog): `initialize` above all, which would open a session. */
export const LEGACY_ONLY: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
])
