import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createNonces, type NoncesOptions } from './nonces.ts'

const OVER = 'the challenge of this join is over'

/** Those of one process; processes share `used` and the key. */
function options(clock: { now: number }): NoncesOptions {
  const used = new Set<string>()
  const useOnce = async (id: string): Promise<boolean> => !used.has(id) && used.add(id) === used
  return { key: randomBytes(32), random: randomBytes, now: () => clock.now, useOnce }
}

test('a nonce is worth one join, for two minutes, in one cluster', async () => {
  const clock = { now: 1_000_000 }
  const shared = options(clock)
  const [a, b] = [createNonces(shared), createNonces(shared)]
  const [one, two, late] = [a.issue(), a.issue(), a.issue()]
  await a.use(one)
  await expect(a.use(one)).rejects.toThrow(OVER)
  await expect(b.use(one)).rejects.toThrow(OVER)
  clock.now += 119_999
  await b.use(two)
  await expect(a.use(two)).rejects.toThrow(OVER)
  clock.now += 1
  await expect(b.use(late)).rejects.toThrow(OVER)
  await expect(createNonces(options(clock)).use(a.issue())).rejects.toThrow(OVER)
})

test('what is not a nonce is refused', async () => {
  const nonces = createNonces(options({ now: 1_000_000 }))
  const real = nonces.issue()
  const longer = `${(9_000_000).toString(36)}${real.slice(real.indexOf('.'))}`
  for (const text of ['', '.', '..', 'x.y.z', real.slice(0, -1), `${real}A`, longer, real.toUpperCase()])
    await expect(nonces.use(text)).rejects.toThrow(OVER)
  await nonces.use(real)
})
