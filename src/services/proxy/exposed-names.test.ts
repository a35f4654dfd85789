import { beforeEach, expect, test } from 'vitest'
import { fakeTimers } from '../../mcp/aggregate/aggregate.fixture.ts'
import { createFakeNames } from './aggregate-fixture.ts'
import { ExposedNames } from './exposed-names.ts'

let auth: ReturnType<typeof createFakeNames>
let names: ExposedNames
beforeEach(() => {
  auth = createFakeNames()
  names = new ExposedNames(auth.api)
})

test('hostile names are not even asked for', async () => {
  expect(await names.namesFor('s', 'tool', ['', 'a\0', '\ud800', 'x'.repeat(1025)])).toEqual([undefined, undefined, undefined, undefined])
  expect(await names.findName('tool', 'x'.repeat(1025))).toBeUndefined()
  expect(auth.calls).toEqual([])
})

test('a refusal is kept, an unknown name is asked for again', async () => {
  expect(await names.namesFor('s', 'tool', ['unlucky'])).toEqual([undefined])
  expect(await names.namesFor('s', 'tool', ['unlucky'])).toEqual([undefined])
  expect(await names.findName('tool', 's_log')).toBeUndefined()
  await new ExposedNames(auth.api).namesFor('s', 'tool', ['log'])
  expect(await names.findName('tool', 's_log')).toEqual({ server: 's', original: 'log' })
  expect(await names.findName('tool', 's_log')).toEqual({ server: 's', original: 'log' })
  expect(auth.calls).toEqual(['assign s unlucky', 'find s_log', 'assign s log', 'find s_log'])
})

test('what could not be asked is asked again', async () => {
  auth.gate = Promise.reject(new Error('down'))
  await expect(names.namesFor('s', 'tool', ['log'])).rejects.toThrow('down')
  auth.gate = Promise.resolve()
  expect(await names.namesFor('s', 'tool', ['log'])).toEqual(['s_log'])
})

test('an Auth Service that is silent for five seconds is unavailable; who left by then is not asked for any more', async () => {
  const timers = fakeTimers({ now: 0 })
  names = new ExposedNames(auth.api, timers)
  auth.gate = new Promise(() => undefined)
  const late = { code: 'unavailable', message: 'the Auth Service did not answer within 5 s: try again' }
  const waiting = [
    expect(names.namesFor('s', 'tool', ['a'])).rejects.toMatchObject(late),
    expect(names.namesFor('s', 'tool', ['b'])).rejects.toMatchObject(late),
    expect(names.findName('tool', 's_c')).rejects.toMatchObject(late),
  ]
  await timers.advance(5000)
  await Promise.all(waiting)
  auth.gate = Promise.resolve()
  expect(await names.namesFor('s', 'tool', ['d'])).toEqual(['s_d'])
  expect(auth.calls.toSorted()).toEqual(['assign s a', 'assign s d', 'find s_c'])
})

test('each name is asked for once, whoever lists at the same time', async () => {
  const gate = Promise.withResolvers<void>()
  auth.gate = gate.promise
  const asking = [
    names.namesFor('s', 'tool', ['b', 'a', 'b', 'a']),
    names.namesFor('s', 'tool', ['a', 'c']),
    names.namesFor('s', 'prompt', ['a']),
    names.namesFor('t', 'tool', ['a']),
  ]
  gate.resolve()
  expect(await Promise.all(asking)).toEqual([['s_b', 's_a', 's_b', 's_a'], ['s_a', 's_c'], ['s_a'], ['t_a']])
  expect(auth.calls.toSorted()).toEqual(['assign s a', 'assign s b,a', 'assign s c', 'assign t a'])
  expect(await names.findName('tool', 's_c')).toEqual({ server: 's', original: 'c' })
  expect(auth.calls).toHaveLength(4)
})
