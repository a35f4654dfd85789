import { type AppError, toAppError } from '../../lib/errors.ts'
import type { Fields } from '../message.ts'
import type { OpenOptions, Reply, Upstream, UpstreamSession } from '../upstream/upstream.ts'
import { type BridgeDeps, META, MODERN_REVISION } from './bridge.ts'
import { composeRequest, isOverlong, MAX_DESCRIPTION, numberOf, objectOf, readMessage, refusedWith, saidIn } from './compose.ts'
import { isLegacy } from './revisions.ts'

/** What a server says when it is asked to describe itself the modern way. */
export type Discovery =
  /** With the result of `server/discover`. */
  | { era: 'modern'; discovered: Fields }
  /** It is modern, but refused. */
  | { era: 'modern'; discovered: undefined; words: string }
  /** It does not know what that is. */
  | { era: 'legacy'; evidence: 'said' | 'silent' | 'not_found' }
  /** No evidence: it could not be reached, or refused the gateway itself. */
  | { era: 'unknown'; error: AppError }

/** Which eras one server speaks, as far as it is known. */
export interface Eras {
  /** What a modern client meets; asks the server when that is not known or too long ago. One question at a time, shared by all who wait. */
  forModern(options: OpenOptions): Promise<'modern' | 'legacy' | 'unknown'>
  /** Whether a legacy client was refused not long ago, and the server turned out to be modern. */
  readonly isModernOnly: boolean
  learnModernOnly(): void
  /** What was believed has proved wrong. */
  forget(): void
}

export interface ProbeLimits {
  /** For the answer to `server/discover` of a server that may be any: one that is silent is a legacy one. */
  discoverMs: number
  /** For the same of a server that is known to be modern, and perhaps slow to start. */
  knownMs: number
  /**
   * How long one era is believed to be the only one: an upgraded server still answers `initialize`, so that nothing else would ever show it,
   * and one that learnt the legacy revisions again shows that to legacy clients only.
   */
  singleMs: number
  /** The same for a server that was silent: it may have been slow. */
  silentMs: number
}

export const PROBE_LIMITS: ProbeLimits = { discoverMs: 10_000, knownMs: 60_000, singleMs: 10 * 60_000, silentMs: 60_000 }

/** Codes that only modern servers use (2026-07-28, error codes). */
const MODERN_CODES: ReadonlySet<unknown> = new Set([-32020, -32021, -32022])
/** What a modern server may answer `initialize` with: no such method, or parameters it cannot take. */
const REFUSING_CODES: ReadonlySet<unknown> = new Set([-32600, -32601, -32602])
const REFUSING_STATUS: ReadonlySet<number> = new Set([400, 404, 405])
/** Too many requests, no rights, a proxy's own refusal: nothing about the era. */
const NO_EVIDENCE: ReadonlySet<number> = new Set([401, 403, 407, 408, 429])
const PROBE_ID = '"sallyport-probe"'

export function createEras(inner: Upstream, deps: BridgeDeps, limits: ProbeLimits): Eras {
  const { now, log, server } = deps
  let known: { era: 'modern' } | { era: 'legacy'; until: number } | undefined
  let modernOnlyUntil = 0
  let asking: Promise<Discovery> | undefined

  const ask = async (options: OpenOptions): Promise<Discovery> => {
    // A session of its own: some programs exit when the first request is not `initialize`.
    const session = await openModern(inner, options)
    if (!session) return { era: 'legacy', evidence: 'said' }
    try {
      return await discover(session, probeMeta(deps), deps.server, limits.discoverMs)
    } finally {
      session.close().catch((error: unknown) => log.debug('a probe of an MCP server did not end cleanly', { server, error }))
    }
  }
  const learn = (found: Discovery): void => {
    if (found.era === 'modern') known = { era: 'modern' }
    // A page that is not there may be missing for one caller only: nobody else is to suffer from it.
    else if (found.era === 'legacy' && found.evidence !== 'not_found')
      known = { era: 'legacy', until: now() + (found.evidence === 'silent' ? limits.silentMs : limits.singleMs) }
  }
  return {
    async forModern(options) {
      if (known && (known.era === 'modern' || known.until > now())) return known.era
      asking ??= ask(options).finally(() => (asking = undefined))
      const found = await asking
      learn(found)
      return found.era
    },
    get isModernOnly() {
      return modernOnlyUntil > now()
    },
    learnModernOnly() {
      known = { era: 'modern' }
      modernOnlyUntil = now() + limits.singleMs
    },
    forget() {
      known = undefined
      modernOnlyUntil = 0
    },
  }
}

/** Undefined when the way the server is reached is a legacy one, whatever it speaks. */
async function openModern(inner: Upstream, options: OpenOptions): Promise<UpstreamSession | undefined> {
  try {
    return await inner.open({ ...options, era: 'modern', purpose: 'era_probe' })
  } catch (thrown) {
    if (toAppError(thrown).code === 'unimplemented') return undefined
    throw thrown
  }
}

/**
 * Asks a server what it is (2026-07-28, discovery, and the probe of basic/transports/stdio). Never fails for what the server does.
 * @param ms until it counts as silent.
 */
export async function discover(session: UpstreamSession, meta: Fields, server: string, ms: number): Promise<Discovery> {
  const headers = { 'mcp-protocol-version': MODERN_REVISION, 'mcp-method': 'server/discover' }
  const request = composeRequest(PROBE_ID, 'server/discover', { _meta: { ...meta, [META.version]: MODERN_REVISION } }, headers)
  const stopping = new AbortController()
  const timer = setTimeout(() => stopping.abort(), ms)
  try {
    const reply = await session.send(request, stopping.signal)
    if (reply.kind === 'refused') return judgeRefusal(reply, server)
    for await (const { message } of saidIn(reply, server)) if (message['method'] === undefined) return judgeResponse(message)
    return { era: 'legacy', evidence: 'said' }
  } catch (thrown) {
    if (stopping.signal.aborted) return { era: 'legacy', evidence: 'silent' }
    const error = toAppError(thrown)
    // It was there, and said something else or went away: what legacy servers do with requests they do not know.
    if (error.origin === 'upstream') return { era: 'legacy', evidence: 'said' }
    if (error.origin === 'upstream_unreachable') return { era: 'unknown', error }
    throw error
  } finally {
    clearTimeout(timer)
  }
}

function judgeRefusal(reply: Extract<Reply, { kind: 'refused' }>, server: string): Discovery {
  const { status, bytes } = reply
  const message = readMessage(bytes)
  if (message && MODERN_CODES.has(codeOf(message))) return judgeResponse(message)
  if (status < 400 || status >= 500 || NO_EVIDENCE.has(status)) return { era: 'unknown', error: refusedWith(reply, server) }
  return { era: 'legacy', evidence: status === 404 && !objectOf(message?.['error']) ? 'not_found' : 'said' }
}

function judgeResponse(message: Fields): Discovery {
  const result = objectOf(message['result'])
  const versions = result?.['supportedVersions']
  if (result && Array.isArray(versions)) {
    if (isOverlong(result))
      return { era: 'modern', discovered: undefined, words: `it describes itself in more than ${MAX_DESCRIPTION} characters` }
    if (versions.includes(MODERN_REVISION)) return { era: 'modern', discovered: result }
    if (versions.some(isKnownLegacy)) return { era: 'legacy', evidence: 'said' }
    return { era: 'modern', discovered: undefined, words: `it speaks only ${versions.slice(0, 10).join(', ').slice(0, 200)}` }
  }
  if (!MODERN_CODES.has(codeOf(message)) || offersLegacyOnly(message)) return { era: 'legacy', evidence: 'said' }
  const said = objectOf(message['error'])?.['message']
  return { era: 'modern', discovered: undefined, words: typeof said === 'string' ? said.slice(0, 300) : 'it refuses to describe itself' }
}

/**
 * Whether a server that knows of the modern revisions says that it speaks older ones (2026-07-28, versioning: `data.supported` is what a client
 * chooses from). So does the official SDK for Go, where it is set up for sessions.
 */
function offersLegacyOnly(message: Fields): boolean {
  const supported = objectOf(objectOf(message['error'])?.['data'])?.['supported']
  return Array.isArray(supported) && !supported.includes(MODERN_REVISION) && supported.some(isKnownLegacy)
}

function isKnownLegacy(revision: unknown): boolean {
  return typeof revision === 'string' && isLegacy(revision)
}

/**
 * How `initialize` was refused: `clearly` with a code of the modern revision, `perhaps` in a way in which servers that know only the modern
 * revision refuse it too, so that the server has to be asked.
 */
export function readsAsModern(reply: Extract<Reply, { kind: 'message' | 'refused' }>): 'clearly' | 'perhaps' | 'no' {
  const message = readMessage(reply.bytes)
  const code = message && codeOf(message)
  if (MODERN_CODES.has(code)) return 'clearly'
  const isRefused = reply.kind === 'message' ? REFUSING_CODES.has(code) : REFUSING_STATUS.has(reply.status)
  return isRefused ? 'perhaps' : 'no'
}

/** Who asks, when it is the gateway itself that wants to know. */
function probeMeta({ version }: BridgeDeps): Fields {
  return { [META.capabilities]: {}, [META.client]: { name: 'sallyport', version } }
}

function codeOf(message: Fields): number | undefined {
  return numberOf(objectOf(message['error'])?.['code'])
}
