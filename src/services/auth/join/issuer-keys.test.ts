import { afterEach, beforeEach, expect, test } from 'vitest'
import { jwtVerify } from 'jose'
import { type Issuer, startIssuer } from '../../../../test/fakes/issuer.ts'
import { checkIssuerUrl, createIssuerKeys, parseJwks } from './issuer-keys.ts'
import type { IssuerKeys } from './issuer-keys.ts'

let issuer: Issuer
let clock: { now: number }
let keys: IssuerKeys

beforeEach(async () => {
  issuer = await startIssuer()
  clock = { now: 1_000_000 }
  keys = createIssuerKeys({ now: () => clock.now, timeoutMs: 300 })
})
afterEach(() => issuer.close())

async function verify(token?: string): Promise<string> {
  const { payload } = await jwtVerify(token ?? (await issuer.sign({ sub: 'x' })), keys.of(issuer.url, undefined))
  return String(payload.sub)
}

test.each([
  'http://issuer.example',
  'ftp://issuer.example',
  'https://user:secret@issuer.example',
  'issuer.example',
  '',
  'file:///etc/passwd',
])('keys are not fetched from %j', (url) => {
  expect(() => checkIssuerUrl(url)).toThrow('is not a URL of an identity provider')
})

test.each(['', '{}', '[]', '{"keys": 1}', '{"keys": [{}]}'])('%j is no JWKS', (text) => {
  expect(() => parseJwks(text)).toThrow('static_jwks is not')
})

test('an answer that is too large, never ends, is no JSON or speaks for another issuer is none', async () => {
  const answers = [
    'x'.repeat(300 * 1024),
    undefined,
    '<html>',
    JSON.stringify({ issuer: 'https://other.example', jwks_uri: `${issuer.url}/jwks` }),
  ]
  for (const body of answers) {
    issuer.answer = (_, response) => (body === undefined ? response.write('{') : response.end(body))
    clock.now += 60_000
    await expect(verify()).rejects.toMatchObject({ code: 'unavailable' })
  }
})

test('a failure is not repeated at once', async () => {
  issuer.answer = (_, response) => response.writeHead(500, { connection: 'close' }).end()
  await expect(verify()).rejects.toMatchObject({ code: 'unavailable' })
  await expect(verify()).rejects.toThrow('could not be fetched a moment ago')
  expect(issuer.seen).toHaveLength(1)
  issuer.answer = undefined
  clock.now += 5000
  expect(await verify()).toBe('x')
})

test('many at once make one request', async () => {
  expect(await Promise.all([verify(), verify(), verify()])).toEqual(['x', 'x', 'x'])
  expect(issuer.seen).toEqual(['/.well-known/openid-configuration', '/jwks'])
})

test('a new key is found, but unknown keys do not make it ask all the time', async () => {
  expect(await verify()).toBe('x')
  await issuer.rotate()
  await expect(verify()).rejects.toThrow('no applicable key')
  expect(issuer.seen).toHaveLength(2)
  clock.now += 30_000
  expect(await verify()).toBe('x')
  expect(issuer.seen).toHaveLength(4)
})

test('while the issuer is away its keys stay good for an hour', async () => {
  const token = await issuer.sign({ sub: 'x' })
  expect(await verify(token)).toBe('x')
  issuer.answer = (_, response) => response.writeHead(503, { connection: 'close' }).end()
  clock.now += 50 * 60_000
  expect(await verify(token)).toBe('x')
  clock.now += 20 * 60_000
  await expect(verify(token)).rejects.toMatchObject({ code: 'unavailable' })
})
