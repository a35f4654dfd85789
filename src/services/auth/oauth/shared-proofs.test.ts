import { afterAll, beforeAll, expect, test } from 'vitest'
import { startReplicas } from '../replicas-fixture.ts'
import type { Replicas } from '../replicas-fixture.ts'

let replicas: Replicas
beforeAll(async () => {
  replicas = await startReplicas()
})
afterAll(() => replicas.close())

test('of two processes that see the same proof at once, one takes it', async () => {
  const { a, b, clock } = replicas
  const until = clock.now + 60_000
  const uses = await Promise.all([a, b, a, b].map(({ auth }) => auth.proofs.useOnce('dpop:one', until)))
  expect(uses.filter(Boolean)).toHaveLength(1)
  expect(await b.auth.proofs.useOnce('dpop:two', until)).toBe(true)
  expect(await a.auth.proofs.useOnce('dpop:two', until)).toBe(false)
})

test('both make the same of the key that nonces come of', () => {
  const { a, b } = replicas
  expect(a.auth.deriveKey('x').equals(b.auth.deriveKey('x'))).toBe(true)
  expect(a.auth.deriveKey('x').equals(a.auth.deriveKey('y'))).toBe(false)
})
