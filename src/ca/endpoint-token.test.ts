import { createHash } from 'node:crypto'
import { SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { issueEndpointToken, verifyEndpointToken } from './endpoint-token.ts'
import type { EndpointClaims } from './endpoint-token.ts'
import { generateKeyPair } from './keys.ts'

const NOW = Date.parse('2030-01-01T00:00:00Z')
const THUMBPRINT = createHash('sha256').update('certificate').digest('base64url')
const pair = await generateKeyPair()
const key = { kid: 'k', ...pair }
const CLAIMS: EndpointClaims = {
  clusterName: 'test',
  endpoint: '/mcp',
  fields: { kind: 'bot', name: 'bot-b', roles: ['dev'], mfaVerified: false, botInstanceId: 'i1', joinToken: 't', joinMethod: 'token' },
  credential: 'certificate',
  credentialId: 'AB',
  credentialExpiresAt: NOW + 1_800_000,
  certificate: THUMBPRINT,
}
const at = { clusterName: 'test', endpoint: '/mcp' as string | undefined, shown: THUMBPRINT as string | undefined, now: NOW }
const issue = (claims: Partial<EndpointClaims> = {}) => issueEndpointToken(key, { ...CLAIMS, ...claims }, { now: NOW, ttlMs: 3_600_000 })
const reasonOf = (token: string, where: Partial<typeof at> = {}, keys = [key]) =>
  verifyEndpointToken(token, keys, { ...at, ...where }).then(
    () => 'accepted',
    (thrown: Error) => thrown.message,
  )

test('elsewhere, without its certificate, later, of another cluster or by another key it is refused', async () => {
  const { token } = await issue()
  const other = { kid: 'k', ...(await generateKeyPair()) }
  expect(await reasonOf(token, { endpoint: '/mcp/sets/x' })).toContain('is for another endpoint')
  expect(await reasonOf(token, { endpoint: undefined })).toContain('good at its MCP endpoint only')
  expect(await reasonOf(token, { shown: undefined })).toContain('only with the certificate')
  expect(await reasonOf(token, { shown: 'another' })).toContain('only with the certificate')
  expect(await reasonOf(token, { now: NOW + 1_800_000 })).toContain('has expired')
  expect(await reasonOf(token, { clusterName: 'other' })).toContain('is not valid')
  expect(await reasonOf(token, {}, [other])).toContain('is not valid')
  expect(await reasonOf(token.slice(4))).toContain('good at its MCP endpoint only')
})

test('a token of another type signed with the same key is none, nor one with a claim that is not known', async () => {
  const forged = (typ: string, more: Record<string, unknown>) =>
    new SignJWT({ kind: 'bot', roles: [], mfa: false, cred: 'oauth', cred_id: 'x', cred_exp: NOW / 1000 + 60, ...more })
      .setProtectedHeader({ alg: 'ES256', typ, kid: 'k' })
      .setIssuer('test')
      .setAudience('sallyport:endpoint:/mcp')
      .setSubject('bot-b')
      .setJti('j')
      .setIssuedAt(NOW / 1000)
      .setExpirationTime(NOW / 1000 + 60)
      .sign(key.privateKey)
  expect(await reasonOf(`spe_${await forged('sallyport-route+jwt', {})}`)).toContain('is not valid')
  expect(await reasonOf(`spe_${await forged('sallyport-endpoint+jwt', { only: 'x' })}`)).toContain('is not valid')
  expect(await reasonOf(`spe_${await forged('sallyport-endpoint+jwt', {})}`)).toBe('accepted')
})

test('a refusal tells the audit log whose token it was', async () => {
  const { token } = await issue()
  for (const where of [{ endpoint: '/mcp/apps/x' }, { shown: 'another' }, { now: NOW + 1_800_000 }])
    await expect(verifyEndpointToken(token, [key], { ...at, ...where })).rejects.toMatchObject({
      fields: { name: 'bot-b', botInstanceId: 'i1' },
    })
  await expect(verifyEndpointToken(`${token}x`, [key], at)).rejects.toMatchObject({ fields: undefined })
})

test('it says who the certificate names, and ends with it', async () => {
  const { token, expiresAt } = await issue()
  expect(expiresAt).toBe(NOW + 1_800_000)
  expect(await verifyEndpointToken(token, [key], at)).toMatchObject({
    fields: CLAIMS.fields,
    credential: 'certificate',
    credentialId: 'AB',
    credentialExpiresAt: NOW + 1_800_000,
    expiresAt: NOW + 1_800_000,
  })
})

test('the holder is the same after a renewal, and another with other roles or of another instance', async () => {
  const holderOf = async (claims: Partial<EndpointClaims>) =>
    (await verifyEndpointToken((await issue({ ...claims, certificate: undefined })).token, [key], { ...at, shown: undefined })).holder
  const { fields } = CLAIMS
  const holder = await holderOf({})
  expect(holder).toMatch(/^[\w-]{12}:i1$/)
  expect(await holderOf({ credentialId: 'CD' })).toBe(holder)
  expect(await holderOf({ fields: { ...fields, roles: ['other'] } })).not.toBe(holder)
  expect(await holderOf({ fields: { ...fields, botInstanceId: 'i2' } })).not.toBe(holder)
})
