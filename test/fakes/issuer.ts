import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { JWK } from 'jose'

/** An identity provider on loopback: it publishes its keys and signs what it is told. */
export interface Issuer {
  url: string
  /** Paths that were asked for. */
  seen: string[]
  /** Who answers instead, when set. */
  answer: RequestListener | undefined
  /** Signs with the key it has now; `claims` stand beside issuer, issue and end. */
  sign(claims: Record<string, unknown>, options?: SignOptions): Promise<string>
  /** From now on it signs with a new key, and publishes that one. */
  rotate(): Promise<void>
  jwks(): { keys: JWK[] }
  close(): Promise<void>
}

export interface SignOptions {
  issuer?: string
  /** Seconds since 1970. */
  expiresAt?: number
  issuedAt?: number
  kid?: string
  typ?: string
}

export async function startIssuer(): Promise<Issuer> {
  let count = 0
  const makeKey = async () => {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
    const kid = `key-${++count}`
    return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' } }
  }
  let key = await makeKey()
  const issuer: Issuer = {
    url: '',
    seen: [],
    answer: undefined,
    sign: (claims, { issuer: named = issuer.url, expiresAt = Date.now() / 1000 + 300, issuedAt, kid = key.kid, typ } = {}) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'RS256', kid, ...(typ !== undefined && { typ }) })
        .setIssuer(named)
        .setIssuedAt(issuedAt)
        .setExpirationTime(Math.floor(expiresAt))
        .sign(key.privateKey),
    rotate: async () => {
      key = await makeKey()
    },
    jwks: () => ({ keys: [key.jwk] }),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
  const server = createServer((request, response) => {
    issuer.seen.push(request.url ?? '')
    if (issuer.answer) return issuer.answer(request, response)
    const documents: Record<string, unknown> = {
      '/.well-known/openid-configuration': { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` },
      '/jwks': issuer.jwks(),
    }
    const document = documents[request.url ?? '']
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json', connection: 'close' })
    response.end(JSON.stringify(document ?? {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  issuer.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}` // it listens
  return issuer
}
