import { expect, test } from 'vitest'
import { jwksOf } from '../ca/assertion.ts'
import { generateKeyPair } from '../ca/keys.ts'
import { AppError } from '../lib/errors.ts'
import { silentLogger } from '../lib/log.ts'
import { AssertionKeys } from './assertion-keys.ts'
import type { ApiClient } from './call.ts'

/** An Auth Service that serves these keys. */
async function start(...kids: string[]) {
  const { publicKey } = await generateKeyPair()
  const clock = { now: 0 }
  const served = { kids, asked: 0 }
  const api: ApiClient = (row) => {
    served.asked += 1
    if (served.kids.includes('fail')) return Promise.reject(new AppError('unavailable', 'down'))
    return Promise.resolve(row.output.parse(jwksOf(served.kids.map((kid) => ({ kid, publicKey })))) as never)
  }
  const keys = new AssertionKeys({ api, monotonic: () => clock.now, log: silentLogger })
  return { keys, clock, served, kids: () => keys.current().map(({ kid }) => kid) }
}

test('the Auth Service is asked at most every ten seconds, whatever is asked for', async () => {
  const { keys, clock, served, kids } = await start('a')
  await keys.load()
  for (let n = 0; n < 50; n++) await keys.refresh()
  expect(served.asked).toBe(1)
  served.kids = ['b']
  clock.now = 10_000
  await keys.refresh()
  expect(kids()).toEqual(['b'])
  expect(served.asked).toBe(2)
  keys.close()
})

test('keys stay when they cannot be fetched, and when there are none', async () => {
  const { keys, clock, served, kids } = await start('a')
  await keys.load()
  served.kids = ['fail']
  clock.now = 10_000
  await keys.refresh()
  served.kids = []
  clock.now = 20_000
  await keys.refresh()
  expect(kids()).toEqual(['a'])
  await expect(keys.load()).rejects.toThrow('no keys')
  keys.close()
})
