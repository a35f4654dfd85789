import { beforeEach, expect, test } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { fakeTimers } from '../../mcp/aggregate/aggregate.fixture.ts'
import { AggregateCallers } from './aggregate-callers.ts'
import { createFakeAuth, type FakeAuth, NOW } from './aggregate-fixture.ts'

let now: number
let auth: FakeAuth
let callers: AggregateCallers

beforeEach(() => {
  now = NOW
  auth = createFakeAuth()
  auth.callers.set('t1', { user: 'ana', tokenId: 'T1', servers: ['dev-db', 'prod-db'] })
  auth.callers.set('t2', { user: 'ana', tokenId: 'T2', servers: ['dev-db'] })
  callers = new AggregateCallers({ clientFor: auth.clientFor, now: () => now })
})

const locked = () => new AppError('permission_denied', 'lock targeting user:"ana" is in force')

test('what the Auth Service refuses is refused, and asked again the next time', async () => {
  await expect(callers.get('nonsense', '')).rejects.toMatchObject({ code: 'unauthenticated' })
  await expect(callers.get('nonsense', '')).rejects.toMatchObject({ code: 'unauthenticated' })
  expect(auth.calls).toEqual(['whoami nonsense', 'whoami nonsense'])
})

test('an owner nobody has shown a credential for may not go on', () => {
  expect(callers.refusalOf('user:ana:T1')).toBe('who you are has to be verified again: connect again')
})

test('after a change everybody is asked about again: who is refused may not go on', async () => {
  await callers.get('t1', '')
  await callers.get('t2', '')
  expect(callers.refusalOf('user:ana:T1')).toBeUndefined()
  auth.callers.delete('t1')
  callers.expire()
  await callers.verify(['user:ana:T1', 'user:ana:T2', 'user:nobody'])
  expect(callers.refusalOf('user:ana:T1')).toBe('the API token is not valid')
  expect(callers.refusalOf('user:ana:T2')).toBeUndefined()
  await expect(callers.get('t1', '')).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('a lock that is gone lets the caller in again', async () => {
  await callers.get('t2', '')
  auth.callers.set('t2', { user: 'ana', tokenId: 'T2', servers: ['dev-db'], refusal: locked() })
  callers.expire()
  await expect(callers.get('t2', '')).rejects.toThrow('is in force')
  expect(callers.refusalOf('user:ana:T2')).toContain('is in force')
  auth.callers.set('t2', { user: 'ana', tokenId: 'T2', servers: ['dev-db'] })
  await callers.get('t2', '')
  expect(callers.refusalOf('user:ana:T2')).toBeUndefined()
})

test('that the Auth Service could not be asked says nothing about a caller, who still gets no further', async () => {
  await callers.get('t2', '')
  auth.callers.set('t2', { user: 'ana', tokenId: 'T2', servers: [], refusal: new AppError('unavailable', 'down') })
  callers.expire()
  await callers.verify(['user:ana:T2'])
  expect(callers.refusalOf('user:ana:T2')).toBeUndefined()
  await expect(callers.get('t2', '')).rejects.toThrow('down')
})

test('who the Auth Service does not answer about within five seconds gets no further, and is asked about again', async () => {
  const clock = { now: 0 }
  const timers = fakeTimers(clock)
  callers = new AggregateCallers({ clientFor: auth.clientFor, now: () => now, timers })
  auth.gate = new Promise(() => undefined)
  const waiting = expect(callers.get('t1', '')).rejects.toMatchObject({
    code: 'unavailable',
    message: 'the Auth Service did not answer within 5 s: try again',
  })
  await timers.advance(5000)
  await waiting
  auth.gate = Promise.resolve()
  expect((await callers.get('t1', '')).owner).toBe('user:ana:T1')
})

test('an answer from before a change is not the answer after it', async () => {
  const gate = Promise.withResolvers<void>()
  auth.gate = gate.promise
  const first = callers.get('t1', '')
  await Promise.resolve()
  auth.callers.set('t1', { user: 'ana', tokenId: 'T1', servers: ['dev-db'] })
  callers.expire()
  gate.resolve()
  expect((await first).servers.map(({ name }) => name)).toEqual(['dev-db'])
  expect(auth.calls).toEqual(['whoami t1', 'listVisibleServers t1', 'whoami t1', 'listVisibleServers t1'])
})

test('a token is asked about once, at once for many, and again after five minutes', async () => {
  const [caller] = await Promise.all(Array.from({ length: 10 }, () => callers.get('t1', '')))
  expect(caller).toEqual({
    owner: 'user:ana:T1',
    expiresAt: NOW + 3_600_000,
    servers: [
      { name: 'dev-db', description: 'about dev-db', labels: { env: 'dev', 'teleport.internal/app-sub-kind': 'mcp' } },
      { name: 'prod-db', description: 'about prod-db', labels: { env: 'prod', 'teleport.internal/app-sub-kind': 'mcp' } },
    ],
  })
  expect(auth.calls).toEqual(['whoami t1', 'listVisibleServers t1'])
  now += 5 * 60_000
  await callers.get('t1', '')
  expect(auth.calls).toHaveLength(4)
})

test('a credential that ended is worth nothing', async () => {
  auth.callers.set('t1', { user: 'ana', tokenId: 'T1', servers: [], expiresAt: NOW + 1000 })
  await callers.get('t1', '')
  now += 1000
  expect(callers.refusalOf('user:ana:T1')).toBe('the credential has expired')
})

test('a token that came to its end takes nobody out, unless something stands against them', async () => {
  const shown = { token: 'o1', remoteAddress: '', endpoint: '/mcp' }
  auth.callers.set('o1', { user: 'ana', tokenId: 'grant', servers: ['dev-db'], tokenExpiresAt: NOW + 1000 })
  const caller = await callers.get('o1', '')
  expect(caller.owner).toBe('user:ana:mcp:grant')
  now += 2000
  auth.callers.delete('o1')
  await expect(callers.get('o1', '')).rejects.toMatchObject({ code: 'unauthenticated' })
  expect(await callers.current(caller, shown)).toBe(caller)
  expect(callers.refusalOf(caller.owner)).toBeUndefined()
  // The next token of the same grant is the same owner.
  auth.callers.set('o2', { user: 'ana', tokenId: 'grant', servers: ['dev-db'], tokenExpiresAt: NOW + 9000 })
  expect((await callers.get('o2', '')).owner).toBe(caller.owner)
  expect(callers.latestToken(caller.owner)).toBe('o2')
  now += 9000
  auth.callers.delete('o2')
  callers.expire()
  await callers.verify([caller.owner])
  expect(callers.refusalOf(caller.owner)).toBe('the API token is not valid')
  await expect(callers.current(caller, { ...shown, token: 'o2' })).rejects.toMatchObject({ code: 'unauthenticated' })
})
