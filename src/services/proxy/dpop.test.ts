import { createHash } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { DpopProofs } from './dpop.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')
const asked = { method: 'POST', url: 'https://proxy.example/mcp', token: 'T1' }

async function prove(jti: string, claims: Record<string, unknown> = {}): Promise<string> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const ath = createHash('sha256').update(asked.token).digest('base64url')
  return await new SignJWT({ htm: 'POST', htu: asked.url, ath, jti, iat: NOW / 1000, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: await exportJWK(publicKey) })
    .sign(privateKey)
}

test.each([
  ['another method', { htm: 'GET' }],
  ['another URL', { htu: 'https://proxy.example/mcp/apps/db' }],
  ['another token', { ath: 'x' }],
  ['another moment', { iat: NOW / 1000 - 61 }],
])('a proof for %s is refused', async (_, claims) => {
  await expect(new DpopProofs(() => NOW).verify(await prove('1', claims), asked)).rejects.toThrow('the DPoP proof was refused')
})

test('a proof is good for one use, also of two at once; one whose token was not accepted takes no place', async () => {
  const proofs = new DpopProofs(() => NOW)
  const proof = await prove('1')
  await proofs.verify(proof, asked)
  const [first, second] = await Promise.all([proofs.verify(proof, asked), proofs.verify(proof, asked)])
  first.use()
  expect(() => second.use()).toThrow('it was used before')
  const again = await proofs.verify(proof, asked)
  expect(() => again.use()).toThrow('it was used before')
})
