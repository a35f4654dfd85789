import { createHmac, generateKeyPairSync } from 'node:crypto'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import type { Identity } from '../resources/identity.ts'
import { issueAssertion, issueForwardedJwt, jwksOf, verifyAssertion } from './assertion.ts'

const NOW = Date.UTC(2027, 0, 15, 12)
const SECONDS = NOW / 1000
const MINUTE = 60_000
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const SIGNER = { kid: 'k1', privateKey: pair.privateKey }
const KEYS = [
  { kid: 'k0', publicKey: stranger.publicKey },
  { kid: 'k1', publicKey: pair.publicKey },
]
const BOT: Identity = {
  kind: 'bot',
  name: 'bot-ci',
  roles: ['access'],
  traits: { mcp_tools: ['get_*'] },
  credential: 'certificate',
  credentialId: 'ABCD',
  expiresAt: NOW + 60 * MINUTE,
  mfaVerified: false,
  botInstanceId: 'i-1',
  joinToken: 'ci',
  accessRequests: ['r-1'],
}
const HEADER = { alg: 'ES256', typ: 'sallyport-route+jwt', kid: 'k1' }
const CLAIMS = {
  iss: 'example',
  aud: 'sallyport:app:github',
  sub: 'ana',
  jti: 'j-1',
  iat: SECONDS,
  exp: SECONDS + 300,
  kind: 'user',
  roles: ['access'],
  traits: {},
  cred: 'api_token',
  cred_id: 'T1',
  cred_exp: SECONDS + 3600,
  mfa: true,
}

function issue(changes: Partial<Identity> = {}, { now = NOW, ttlMs = 5 * MINUTE, server = 'github' } = {}) {
  return issueAssertion(SIGNER, { clusterName: 'example', server, identity: { ...BOT, ...changes } }, { now, ttlMs })
}

function verify(token: string, { now = NOW, server = 'github', clusterName = 'example', keys = KEYS } = {}) {
  return verifyAssertion(token, keys, { clusterName, server, now })
}

/** A token signed with the right key, whatever it says. An undefined claim is left out. */
function forge(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) {
  return new SignJWT({ ...CLAIMS, ...claims }).setProtectedHeader({ ...HEADER, ...header }).sign(pair.privateKey)
}

const refused = { code: 'unauthenticated' }

test('issues nothing for a credential that has ended, or another server than the token is for', async () => {
  await expect(issue({ expiresAt: NOW })).rejects.toMatchObject({ ...refused, message: 'the credential has expired: log in again' })
  await expect(issue({ expiresAt: NOW + 999 })).rejects.toMatchObject(refused)
  await expect(issue({ servers: ['slack'] })).rejects.toMatchObject({
    code: 'permission_denied',
    message: 'this token is not valid for the server "github"',
  })
  await expect(issue({ servers: [] })).rejects.toMatchObject({ code: 'permission_denied' })
})

test('issues nothing that lives too long or is too large', async () => {
  await expect(issue({}, { ttlMs: 5 * MINUTE + 1 })).rejects.toMatchObject({ code: 'internal' })
  await expect(issue({}, { ttlMs: 0 })).rejects.toMatchObject({ code: 'internal' })
  await expect(issue({}, { ttlMs: Number.NaN })).rejects.toMatchObject({ code: 'internal' })
  await expect(issue({ traits: { groups: Array.from({ length: 10_000 }, (_, index) => `group-${index}`) } })).rejects.toMatchObject({
    code: 'failed_precondition',
  })
})

test('is refused for another server, cluster, key or time', async () => {
  const token = await issue()
  await expect(verify(token, { server: 'slack' })).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: it is not meant for this use (aud)',
  })
  await expect(verify(token, { server: 'GitHub' })).rejects.toMatchObject(refused)
  await expect(verify(token, { clusterName: 'other' })).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: it is not meant for this use (iss)',
  })
  await expect(verify(token, { keys: [] })).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: it is signed with an unknown key',
  })
  await expect(verify(token, { keys: [{ kid: 'k1', publicKey: stranger.publicKey }] })).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: its signature is wrong',
  })
  await expect(verify(token, { now: NOW + 5 * MINUTE })).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: it has expired',
  })
  await expect(verify(token, { now: NOW - 31_000 })).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: it was issued in the future: check the clocks',
  })
  await expect(verify(token, { now: NOW + 5 * MINUTE - 1 })).resolves.toBeTruthy()
  await expect(verify(token, { now: NOW - 30_000 })).resolves.toBeTruthy()
})

test.each<[string, Record<string, unknown>]>([
  ['another type', { typ: 'JWT' }],
  ['the type in another case', { typ: 'Sallyport-Route+JWT' }],
  ['the type with its media prefix', { typ: 'application/sallyport-route+jwt' }],
  ['no type', { typ: undefined }],
  ['no key id', { kid: undefined }],
  ['an unknown key id', { kid: 'k9' }],
  ['the key id of another key', { kid: 'k0' }],
  ['a key of its own', { jwk: pair.publicKey.export({ format: 'jwk' }) }],
  ['a key address of its own', { jku: 'https://evil.example/jwks.json' }],
])('is refused with a header that has %s', async (_, header) => {
  await expect(verify(await forge({}, header))).rejects.toMatchObject(refused)
})

test.each<[string, Record<string, unknown>]>([
  ['another audience', { aud: 'sallyport:app:slack' }],
  ['several audiences', { aud: ['sallyport:app:github', 'sallyport:app:slack'] }],
  ['no audience', { aud: undefined }],
  ['no issuer', { iss: undefined }],
  ['no subject', { sub: undefined }],
  ['an empty subject', { sub: '' }],
  ['no id', { jti: undefined }],
  ['no time of issue', { iat: undefined }],
  ['no end', { exp: undefined }],
  ['a lifetime over five minutes', { exp: SECONDS + 301 }],
  ['a lifetime that never began', { iat: SECONDS + 20, exp: SECONDS + 20 }],
  ['a time of issue in the future', { iat: SECONDS + 31 }],
  ['an end in fractions of seconds', { exp: SECONDS + 60.5 }],
  ['an unknown kind', { kind: 'admin' }],
  ['roles that are no list', { roles: 'access' }],
  ['no traits', { traits: undefined }],
  ['another assertion as its credential', { cred: 'assertion' }],
  ['no credential id', { cred_id: undefined }],
  ['a credential that ends before it', { cred_exp: SECONDS + 299 }],
  ['a claim we do not know', { servers: ['github'] }],
  ['mfa as text', { mfa: 'true' }],
])('is refused with %s', async (_, claims) => {
  await expect(verify(await forge(claims))).rejects.toMatchObject(refused)
})

test('is refused when unsigned or signed with another algorithm', async () => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = (alg: string) => `${encode({ ...HEADER, alg })}.${encode(CLAIMS)}`
  const hmac = createHmac('sha256', pair.publicKey.export({ type: 'spki', format: 'pem' }))
    .update(body('HS256'))
    .digest('base64url')
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const es384 = await new SignJWT(CLAIMS).setProtectedHeader({ ...HEADER, alg: 'ES384' }).sign(p384.privateKey)
  await expect(verify(`${body('none')}.`)).rejects.toMatchObject(refused)
  await expect(verify(`${body('HS256')}.${hmac}`)).rejects.toMatchObject(refused)
  await expect(verify(es384, { keys: [{ kid: 'k1', publicKey: p384.publicKey }] })).rejects.toMatchObject(refused)
})

test.each(['', 'a', 'a.b', 'a.b.c', '....', 'e30.e30.'])('refuses text that is no JWT, such as %#', async (text) => {
  await expect(verify(text)).rejects.toMatchObject(refused)
})

test('refuses text beyond all reason before reading it', async () => {
  await expect(verify('x'.repeat(65_537))).rejects.toMatchObject({ ...refused, message: 'the route assertion was refused: it is too long' })
})

test('is refused when one character of the claims was changed', async () => {
  const [header = '', payload = '', signature = ''] = (await issue()).split('.')
  const changed = Buffer.from(Buffer.from(payload, 'base64url').toString().replace('"bot-ci"', '"bot-cd"')).toString('base64url')
  await expect(verify(`${header}.${changed}.${signature}`)).rejects.toMatchObject({
    ...refused,
    message: 'the route assertion was refused: its signature is wrong',
  })
})

test('brings the identity over whole, with the id and the end of the original credential', async () => {
  const token = await issue({ expiresAt: NOW + 60 * MINUTE + 999 }, { now: NOW + 500 })
  expect(await verify(token)).toEqual({
    identity: { ...BOT, expiresAt: NOW + 60 * MINUTE },
    issuedAt: NOW + 500,
    expiresAt: NOW + 5 * MINUTE,
  })
})

test('brings over an identity without the optional facts', async () => {
  expect((await verify(await forge())).identity).toEqual({
    kind: 'user',
    name: 'ana',
    roles: ['access'],
    traits: {},
    credential: 'api_token',
    credentialId: 'T1',
    expiresAt: NOW + 60 * MINUTE,
    mfaVerified: true,
  })
})

test('never outlives the credential', async () => {
  expect((await verify(await issue({ expiresAt: NOW + MINUTE }))).expiresAt).toBe(NOW + MINUTE)
})

test('a scoped token gets an assertion for its own server', async () => {
  expect((await verify(await issue({ servers: ['slack', 'github'] }))).identity.name).toBe('bot-ci')
})

test('roles that do not grant travel as such', async () => {
  const { identity } = await verify(await issue({ roles: ['access', 'contractor'], grantingRoles: ['access'] }))
  expect(identity).toMatchObject({ roles: ['access', 'contractor'], grantingRoles: ['access'] })
})

test('the wire format', async () => {
  const token = await issue()
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'sallyport-route+jwt', kid: 'k1' })
  expect(decodeJwt(token)).toEqual({
    iss: 'example',
    aud: 'sallyport:app:github',
    sub: 'bot-ci',
    jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
    iat: SECONDS,
    exp: SECONDS + 300,
    kind: 'bot',
    roles: ['access'],
    traits: { mcp_tools: ['get_*'] },
    cred: 'certificate',
    cred_id: 'ABCD',
    cred_exp: SECONDS + 3600,
    mfa: false,
    bot_instance_id: 'i-1',
    join_token: 'ci',
    access_requests: ['r-1'],
  })
})

test('a forwarded JWT is no route assertion', async () => {
  const claims = { issuer: 'example', username: 'ana', audience: 'sallyport:app:github', now: NOW, expiresAt: NOW + MINUTE }
  const { token } = await issueForwardedJwt(SIGNER, claims)
  await expect(verify(token)).rejects.toMatchObject(refused)
  await expect(issueForwardedJwt(SIGNER, { ...claims, expiresAt: NOW })).rejects.toMatchObject(refused)
})

test('a forwarded JWT verifies against the published keys and ends after ten minutes or with the identity', async () => {
  const claims = { issuer: 'example', username: 'ana', audience: 'mcp+https://x.example/mcp', now: NOW }
  const { token: long } = await issueForwardedJwt(SIGNER, {
    ...claims,
    roles: ['access'],
    traits: { team: ['a'] },
    expiresAt: NOW + 60 * MINUTE,
  })
  const { token: short } = await issueForwardedJwt(SIGNER, { ...claims, expiresAt: NOW + MINUTE })
  const options = { issuer: 'example', audience: 'mcp+https://x.example/mcp', typ: 'JWT', currentDate: new Date(NOW) }
  const { payload } = await jwtVerify(long, createLocalJWKSet(jwksOf(KEYS)), options)
  expect(payload).toEqual({
    iss: 'example',
    aud: 'mcp+https://x.example/mcp',
    sub: 'ana',
    username: 'ana',
    roles: ['access'],
    traits: { team: ['a'] },
    jti: expect.any(String),
    iat: SECONDS,
    nbf: SECONDS,
    exp: SECONDS + 600,
  })
  expect(decodeJwt(short)).not.toHaveProperty('roles')
  expect(decodeJwt(short).exp).toBe(SECONDS + 60)
})

test('published keys hold no private member, even when handed a private key', () => {
  const { keys } = jwksOf([{ kid: 'k1', publicKey: pair.privateKey }])
  expect(keys.map((key) => Object.keys(key).toSorted())).toEqual([['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']])
  expect(() => jwksOf([{ kid: 'k2', publicKey: generateKeyPairSync('ed25519').publicKey }])).toThrow(
    'the signing key k2 is not an EC P-256 key',
  )
})
