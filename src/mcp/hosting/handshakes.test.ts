import { expect, test } from 'vitest'
import { Handshakes } from './handshakes.ts'

/** For what so many spares are made ready, in turn. */
function plan(handshakes: Handshakes, spares: number): (string | undefined)[] {
  const ready: (string | undefined)[] = []
  while (ready.length < spares) ready.push(handshakes.next((one) => ready.filter((other) => other === one).length))
  return ready
}

test('of sessions that nobody has begun nothing is known', () => {
  expect(plan(new Handshakes(), 2)).toEqual([undefined, undefined])
})

test('spares are shared out by how often sessions begin in a way, those that are alone in theirs included', () => {
  const handshakes = new Handshakes()
  handshakes.note('desktop')
  expect(plan(handshakes, 2)).toEqual(['desktop', 'desktop'])
  for (const one of ['editor', 'desktop', undefined, 'desktop', 'editor', 'desktop']) handshakes.note(one)
  expect(plan(handshakes, 3)).toEqual(['desktop', 'desktop', 'editor'])
  expect(plan(handshakes, 9)).toContain(undefined)
})

test('what came often long ago counts less than what comes now', () => {
  const handshakes = new Handshakes()
  for (let count = 0; count < 100; count++) handshakes.note('version 1')
  for (let count = 0; count < 5; count++) handshakes.note('version 2')
  expect(plan(handshakes, 1)).toEqual(['version 2'])
  for (let count = 0; count < 30; count++) handshakes.note('version 2')
  expect(handshakes.weightOf('version 1')).toBe(0)
})

test('what does not work is forgotten, and ever new ways take no memory', () => {
  const handshakes = new Handshakes()
  handshakes.note('works')
  for (let count = 0; count < 2; count++) handshakes.note('fails')
  handshakes.forget('fails')
  expect(plan(handshakes, 1)).toEqual(['works'])
  for (let count = 0; count < 1000; count++) handshakes.note(`once ${count}`)
  const known = Array.from({ length: 1000 }, (_, count) => handshakes.weightOf(`once ${count}`)).filter((weight) => weight > 0)
  expect(known.length).toBeLessThanOrEqual(16)
})
