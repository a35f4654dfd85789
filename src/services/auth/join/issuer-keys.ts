import { createLocalJWKSet, errors } from 'jose'
import type { JWTVerifyGetKey } from 'jose'
import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import { isLoopbackHost } from '../../../lib/loopback.ts'
import { readBounded } from '../../../lib/read-bounded.ts'

/** The public keys of identity providers, fetched when they are needed and kept for a while. */
export interface IssuerKeys {
  /** Of an issuer, by its discovery document (OpenID Connect Discovery 1.0, section 4) unless `jwksUrl` says where they are. */
  of(issuer: string, jwksUrl: string | undefined): JWTVerifyGetKey
}

export interface IssuerKeysOptions {
  now: () => number
  /** For one document, ms. */
  timeoutMs?: number
}

const FRESH_MS = 10 * 60_000
/** How long keys stay good while the issuer cannot be reached. */
const STALE_MS = 3_600_000
/** Tokens with keys nobody has heard of are for anybody to make: they do not make us ask more often. */
const REFRESH_MS = 30_000
const RETRY_MS = 5000
const TIMEOUT_MS = 5000
const MAX_BYTES = 256 * 1024
const MAX_ISSUERS = 100

interface Kept {
  resolve: JWTVerifyGetKey
  fetchedAt: number
}

export function createIssuerKeys({ now, timeoutMs = TIMEOUT_MS }: IssuerKeysOptions): IssuerKeys {
  const kept = new Map<string, Kept>()
  const triedAt = new Map<string, number>()
  const fetching = new Map<string, Promise<Kept>>()

  const load = (key: string, issuer: string, jwksUrl: string | undefined): Promise<Kept> => {
    const underWay = fetching.get(key)
    if (underWay) return underWay
    remember(triedAt, key, now())
    const loading = fetchKeys(issuer, jwksUrl, timeoutMs)
      .then((resolve) => remember(kept, key, { resolve, fetchedAt: now() }))
      .finally(() => fetching.delete(key))
    fetching.set(key, loading)
    return loading
  }
  const current = async (key: string, issuer: string, jwksUrl: string | undefined): Promise<Kept> => {
    const known = kept.get(key)
    const since = now() - (triedAt.get(key) ?? Number.NEGATIVE_INFINITY)
    if (known && (now() - known.fetchedAt < FRESH_MS || since < REFRESH_MS)) return known
    if (!known && since < RETRY_MS && !fetching.has(key))
      throw new AppError('unavailable', 'the keys of the identity provider could not be fetched a moment ago: try again in a few seconds')
    try {
      return await load(key, issuer, jwksUrl)
    } catch (thrown) {
      if (known && now() - known.fetchedAt < STALE_MS) return known
      throw thrown
    }
  }
  return {
    of: (issuer, jwksUrl) => async (header, token) => {
      const key = JSON.stringify([issuer, jwksUrl])
      const known = await current(key, issuer, jwksUrl)
      try {
        return await known.resolve(header, token)
      } catch (thrown) {
        const mayBeNew = thrown instanceof errors.JWKSNoMatchingKey && now() - (triedAt.get(key) ?? 0) >= REFRESH_MS
        if (!mayBeNew) throw thrown
        return await (await load(key, issuer, jwksUrl)).resolve(header, token)
      }
    },
  }
}

const jwksSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) })

/** The keys of a JWKS text; throws `invalid_argument` when it is none. */
export function parseJwks(text: string): JWTVerifyGetKey {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_argument', 'static_jwks is not JSON', { cause })
  }
  const parsed = jwksSchema.safeParse(document)
  if (!parsed.success) throw new AppError('invalid_argument', 'static_jwks is not a JWKS: {"keys": […]}', { cause: parsed.error })
  return createLocalJWKSet(parsed.data)
}

/** Throws `invalid_argument` for a URL that keys are not fetched from: it has to be https, on this machine http will do. */
export function checkIssuerUrl(text: string): URL {
  const url = URL.parse(text)
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname))
  if (!url || !isSafe || url.username !== '' || url.password !== '' || url.hash !== '')
    throw new AppError('invalid_argument', `${JSON.stringify(text)} is not a URL of an identity provider: it has to be https://…`)
  return url
}

const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.string() })

async function fetchKeys(issuer: string, jwksUrl: string | undefined, timeoutMs: number): Promise<JWTVerifyGetKey> {
  const url = jwksUrl === undefined ? await discover(issuer, timeoutMs) : checkIssuerUrl(jwksUrl)
  const parsed = jwksSchema.safeParse(await fetchJson(url, timeoutMs))
  if (!parsed.success) throw unreachable(url, 'what it answers is not a JWKS', parsed.error)
  return createLocalJWKSet(parsed.data)
}

async function discover(issuer: string, timeoutMs: number): Promise<URL> {
  checkIssuerUrl(issuer)
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const parsed = discoverySchema.safeParse(await fetchJson(url, timeoutMs))
  if (!parsed.success) throw unreachable(url, 'what it answers is not a discovery document', parsed.error)
  if (parsed.data.issuer !== issuer) throw unreachable(url, 'it speaks for another issuer')
  return checkIssuerUrl(parsed.data.jwks_uri)
}

/** One small JSON document, without redirects and within the time. */
async function fetchJson(url: URL, timeoutMs: number): Promise<unknown> {
  try {
    const answer = await fetch(url, {
      redirect: 'error',
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(timeoutMs),
    })
    const body = answer.body
    if (answer.status !== 200 || !body) throw unreachable(url, `it answers with HTTP ${answer.status}`)
    const bytes = await readBounded(body, MAX_BYTES, () => unreachable(url, `its answer is larger than ${MAX_BYTES} bytes`))
    return JSON.parse(bytes.toString())
  } catch (thrown) {
    throw thrown instanceof AppError ? thrown : unreachable(url, 'it cannot be reached, redirects, or does not answer with JSON', thrown)
  }
}

function unreachable(url: URL, why: string, cause?: unknown): AppError {
  const place = `${url.origin}${url.pathname}`
  return new AppError('unavailable', `the keys of the identity provider cannot be fetched from ${place}: ${why}`, { cause })
}

function remember<T>(map: Map<string, T>, key: string, value: T): T {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= MAX_ISSUERS) break
    map.delete(oldest)
  }
  return value
}
