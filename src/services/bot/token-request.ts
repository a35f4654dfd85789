import { createPublicKey, randomUUID } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose'
import { z } from 'zod'
import { readAnswer } from '../../client/answer.ts'
import type { ProxyHttp } from '../../client/proxy-http.ts'
import { AppError } from '../../lib/errors.ts'

export interface IssuedToken {
  token: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

export interface TokenRequest {
  /** Of an `oauth_client` that acts as the bot. */
  clientId: string
  /** The URL of the MCP server (RFC 8707). */
  audience: string
  scope: string
  privateKey: KeyObject
  now: () => number
}

const TIMEOUT_MS = 30_000
const METADATA_PATH = '/.well-known/oauth-authorization-server'
const metadataSchema = z.object({ issuer: z.url(), token_endpoint: z.url() })
const tokenSchema = z.object({ access_token: z.string().min(1).max(65_536), expires_in: z.number().positive() })
const refusalSchema = z.object({ error: z.string(), error_description: z.string().optional() })

/**
 * An access token for one MCP server by client credentials (RFC 6749 section 4.4), the client being proven by a signature of its key (RFC 7523
 * section 2.2). The answers are of the proxy, which `http` has verified, so only paths are taken from them. What the cluster refuses throws `failed_precondition`.
 */
export async function requestToken(http: ProxyHttp, { clientId, audience, scope, privateKey, now }: TokenRequest): Promise<IssuedToken> {
  const metadata = await call(http, { method: 'GET', path: METADATA_PATH, headers: {} })
  const { issuer, token_endpoint } = parse(metadataSchema, metadata.body)
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    scope,
    resource: audience,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await signAssertion(privateKey, clientId, issuer, now()),
  })
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' }
  const asked = now()
  const answer = await call(http, { method: 'POST', path: new URL(token_endpoint).pathname, headers, body: form.toString() })
  if (answer.status >= 400) throw refusal(clientId, answer)
  const { access_token: token, expires_in } = parse(tokenSchema, answer.body)
  return { token, expiresAt: asked + expires_in * 1000 }
}

/** The public key as it stands in the `jwks` of an `oauth_client`. */
export async function renderPublicJwk(publicKeyPem: string): Promise<string> {
  return `${JSON.stringify(await publicJwk(createPublicKey(publicKeyPem)))}\n`
}

async function publicJwk(key: KeyObject) {
  const jwk = await exportJWK(key)
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig' }
}

async function signAssertion(privateKey: KeyObject, clientId: string, issuer: string, now: number): Promise<string> {
  const { kid } = await publicJwk(createPublicKey(privateKey))
  const seconds = Math.floor(now / 1000)
  return await new SignJWT()
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuer(clientId)
    .setSubject(clientId)
    .setAudience(issuer)
    .setJti(randomUUID())
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + 60)
    .sign(privateKey)
}

async function call(http: ProxyHttp, request: { method: 'GET' | 'POST'; path: string; headers: Record<string, string>; body?: string }) {
  return await readAnswer(await http.send({ ...request, signal: AbortSignal.timeout(TIMEOUT_MS) }))
}

function parse<T>(schema: z.ZodType<T>, text: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new AppError('unavailable', 'the answer is not from a Sallyport token endpoint: is the cluster of another version?', { cause })
  }
}

function refusal(clientId: string, { status, body }: { status: number; body: string }): AppError {
  if (status >= 500 || status === 429) return new AppError('unavailable', `the token endpoint answered HTTP ${status}`)
  const { error, error_description: said } = parse(refusalSchema, body)
  const hint =
    error === 'invalid_client'
      ? `; its jwks must have what "tbot keypair create --format=jwk" prints (tctl get oauth_client/${clientId})`
      : ''
  return new AppError('failed_precondition', `no access token for the client ${clientId}: ${said ?? error}${hint}`)
}
