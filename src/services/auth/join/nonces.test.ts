import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createNonces } from './nonces.ts'

test('a nonce is worth one join, for two minutes, and only of this process', () => {
  const clock = { now: 1_000_000 }
  const nonces = createNonces(randomBytes, () => clock.now)
  const [one, two, late] = [nonces.issue(), nonces.issue(), nonces.issue()]
  nonces.use(one)
  expect(() => nonces.use(one)).toThrow('the challenge of this join is over')
  clock.now += 119_999
  nonces.use(two)
  clock.now += 1
  expect(() => nonces.use(late)).toThrow('the challenge of this join is over')
  const others = createNonces(randomBytes, () => clock.now)
  expect(() => others.use(nonces.issue())).toThrow('the challenge of this join is over')
})

test('what is not a nonce is refused', () => {
  const nonces = createNonces(randomBytes, () => 1_000_000)
  const real = nonces.issue()
  const longer = `${(9_000_000).toString(36)}${real.slice(real.indexOf('.'))}`
  for (const text of ['', '.', '..', 'x.y.z', real.slice(0, -1), `${real}A`, longer, real.toUpperCase()])
    expect(() => nonces.use(text)).toThrow('the challenge of this join is over')
  nonces.use(real)
})
