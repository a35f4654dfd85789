import { beforeEach, expect, test } from 'vitest'
import { cString, frame } from './frames.ts'
import { Outcomes } from './outcomes.ts'
import type { QueryEnd } from './query-log.ts'

const DONE = (tag: string) => frame('C', cString(tag))
const READY = frame('Z', Buffer.from('I'))
const ROW = frame('D', Buffer.alloc(6))
const FAILED = frame('E', cString('SERROR'), cString('C22012'), cString('Mdivision by zero'), Buffer.alloc(1))
const ERROR = 'ERROR: division by zero (SQLSTATE 22012)'

let outcomes: Outcomes
let ended: Record<string, QueryEnd>

beforeEach(() => {
  outcomes = new Outcomes()
  ended = {}
})

function send(name: string, isAlone = false): void {
  outcomes.sent(async (end) => {
    if (ended[name]) throw new Error(`${name} ends twice`)
    ended[name] = end
  }, isAlone)
}

const hear = (...frames: Buffer[]): Promise<void> => outcomes.heard(Buffer.concat(frames))

test('a text of several statements ends with all of them, or with the first that failed', async () => {
  send('both', true)
  await hear(ROW, DONE('SELECT 1'), ROW, ROW, DONE('SELECT 2'))
  expect(ended).toEqual({})
  send('fails', true)
  await hear(READY, ROW, DONE('SELECT 1'), FAILED, READY)
  expect(ended).toEqual({ both: { rows: 3 }, fails: { error: ERROR } })
})

test('of statements that were sent together each has its own end, and those after an error have none of their own', async () => {
  for (const name of ['first', 'second', 'third']) send(name)
  outcomes.synced()
  send('next')
  outcomes.synced()
  await hear(DONE('UPDATE 7'), FAILED)
  expect(ended).toEqual({ first: { rows: 7 }, second: { error: ERROR } })
  await hear(READY, frame('1'), ROW, frame('s'), READY)
  expect(ended['third']).toEqual({ error: `not run, for what came before it: ${ERROR}` })
  expect(ended['next']).toEqual({ rows: 1 })
})

test('wherever the bytes are cut, and however long the rows are', async () => {
  send('long', true)
  const bytes = Buffer.concat([frame('D', Buffer.alloc(100_000)), frame('I'), DONE('DELETE 2'), READY])
  for (const at of bytes.keys()) if (at % 999 === 0) await outcomes.heard(bytes.subarray(at, at + 999))
  expect(ended).toEqual({ long: { rows: expect.any(Number) } })
})

test('a COPY that takes rows passes over what was said before they are over', async () => {
  send('copy')
  outcomes.synced()
  await hear(frame('G', Buffer.alloc(3)))
  outcomes.copied()
  outcomes.synced()
  send('next')
  outcomes.synced()
  await hear(DONE('COPY 5'), READY)
  expect(ended).toEqual({ copy: { rows: 5 } })
  await hear(DONE('SELECT 1'), READY)
  expect(ended['next']).toEqual({ rows: 1 })
})

test('how a statement ended whose session is over nobody knows, and a server that says too much harms nothing', async () => {
  await hear(DONE('SELECT 1'), READY, FAILED, READY)
  send('open')
  send('waiting')
  outcomes.synced()
  await hear(DONE('SELECT 1'))
  await outcomes.close('gone')
  expect(ended).toEqual({ open: { rows: 1 }, waiting: { error: 'gone' } })
})

test('a client cannot have statements without end', () => {
  expect(() => {
    for (let count = 0; count <= 20_000; count++) send(`${count}`)
  }).toThrow('more than 20000 statements of one session have no answer')
})
