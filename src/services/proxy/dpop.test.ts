import { createHash } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { createProofs } from './dpop.fixture.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')
const MINUTE = 60_000
const asked = { method: 'POST', url: 'https://proxy.example/mcp', token: 'T1' }

async function prove(jti: string, claims: Record<string, unknown> = {}): Promise<string> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const ath = createHash('sha256').update(asked.token).digest('base64url')
  return await new SignJWT({ htm: 'POST', htu: asked.url, ath, jti, iat: NOW / 1000, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: await exportJWK(publicKey) })
    .sign(privateKey)
}

test.each([
  ['another method', { htm: 'GET' }, 'invalid_dpop_proof'],
  ['another URL', { htu: 'https://proxy.example/mcp/apps/db' }, 'invalid_dpop_proof'],
  ['another token', { ath: 'x' }, 'invalid_dpop_proof'],
  ['another moment', { iat: NOW / 1000 - 61 }, 'use_dpop_nonce'],
  ['a moment to come', { iat: NOW / 1000 + 11 }, 'use_dpop_nonce'],
  ['a nonce of nobody', { nonce: 'x' }, 'use_dpop_nonce'],
  ['a nonce that is no text', { nonce: 1 }, 'use_dpop_nonce'],
])('a proof for %s is refused', async (_, claims, challenge) => {
  await expect(createProofs(() => NOW).verify(await prove('1', claims), asked)).rejects.toMatchObject({
    message: expect.stringContaining('the DPoP proof was refused'),
    details: { challenge },
  })
})

test('a proof is good for one use, also of two at once; one whose token was not accepted takes no place', async () => {
  const proofs = createProofs(() => NOW)
  const proof = await prove('1')
  await proofs.verify(proof, asked)
  const [first, second] = await Promise.all([proofs.verify(proof, asked), proofs.verify(proof, asked)])
  await first.use()
  await expect(second.use()).rejects.toThrow('it was used before')
  const again = await proofs.verify(proof, asked)
  await expect(again.use()).rejects.toThrow('it was used before')
})

test('nor is it good in another process', async () => {
  const used = new Set<string>()
  const useOnce = async (id: string): Promise<boolean> => !used.has(id) && used.add(id).has(id)
  const [here, there] = [createProofs(() => NOW, { useOnce }), createProofs(() => NOW, { useOnce })]
  const proof = await prove('1')
  await (await here.verify(proof, asked)).use()
  await expect((await there.verify(proof, asked)).use()).rejects.toThrow('it was used before')
})

test('with a nonce of the server the clock of the client does not count; a nonce is good for some minutes', async () => {
  let now = NOW
  const proofs = createProofs(() => now)
  const { nonce } = proofs
  const proof = await prove('1', { nonce, iat: 1 })
  await proofs.verify(proof, asked)
  now = NOW + 2 * MINUTE
  expect(proofs.nonce).not.toBe(nonce)
  await proofs.verify(proof, asked)
  // Any process of the cluster takes it.
  await createProofs(() => now).verify(proof, asked)
  now = NOW + 4 * MINUTE
  await expect(proofs.verify(proof, asked)).rejects.toMatchObject({ details: { challenge: 'use_dpop_nonce' } })
})

test('where nonces are required, a proof without one is sent back', async () => {
  const proofs = createProofs(() => NOW, { requiresNonce: true })
  await expect(proofs.verify(await prove('1'), asked)).rejects.toMatchObject({ details: { challenge: 'use_dpop_nonce' } })
  await proofs.verify(await prove('1', { nonce: proofs.nonce }), asked)
})
