import { expect, test } from 'vitest'
import { createIds } from './ids.ts'

const ones = (size: number): Uint8Array => new Uint8Array(size).fill(0xff)

test('a token of no bytes, of a part of one or of too many is refused', () => {
  for (const bytes of [0, -1, 1.5, Number.NaN, 1025]) expect(() => createIds().token(bytes)).toThrow('1 to 1024 bytes')
})

test('a source that gives too little is refused', () => {
  expect(() => createIds(() => new Uint8Array(16)).uuidv7()).toThrow('too little')
})

test('the example of RFC 9562, appendix A.6', () => {
  // Its rand_a has the top bit set, which the counter starts without; the rest is as printed there.
  const bytes = Buffer.from('0cc318c4dc0c0c07398f', 'hex')
  const random = (size: number): Uint8Array => Buffer.concat([bytes, Buffer.alloc(size - bytes.length)])
  expect(createIds(random, () => 0x017f22e279b0).uuidv7()).toBe('017f22e2-79b0-74c3-98c4-dc0c0c07398f')
})

test('version and variant stand whatever the random bits', () => {
  expect(createIds(ones, () => 1).uuidv7()).toBe('00000000-0001-77ff-bfff-ffffffffffff')
  expect(
    createIds(
      (size) => new Uint8Array(size),
      () => 2 ** 48 - 1,
    ).uuidv7(),
  ).toBe('ffffffff-ffff-7000-8000-000000000000')
})

test('ids ascend within a millisecond, past a full counter, and when the clock steps back', () => {
  let ms = 1_700_000_000_000
  const ids = createIds(undefined, () => ms)
  const made = Array.from({ length: 20_000 }, () => ids.uuidv7())
  ms -= 60_000
  made.push(...Array.from({ length: 10 }, () => ids.uuidv7()))
  ms += 120_000
  made.push(ids.uuidv7())
  expect(made).toEqual(made.toSorted())
  expect(new Set(made).size).toBe(20_011)
  expect(made.at(-1)?.slice(0, 13)).toBe('018bcfe6-5260')
})

test('tokens', () => {
  expect(createIds(ones).token()).toBe('________________________________')
  expect(createIds(ones).token(1)).toBe('_w')
  const ids = createIds()
  const tokens = Array.from({ length: 1000 }, () => ids.token(32))
  expect(new Set(tokens).size).toBe(1000)
  expect(tokens.every((token) => /^[\w-]{43}$/.test(token))).toBe(true)
})

test('random bytes are asked for in blocks and erased once used', () => {
  const blocks: Uint8Array[] = []
  const ids = createIds((size) => {
    blocks.push(ones(size))
    return blocks.at(-1) ?? ones(size)
  })
  for (let i = 0; i < 100; i++) ids.token(32)
  expect(blocks.length).toBe(1)
  expect(blocks[0]?.subarray(0, 3200).every((byte) => byte === 0)).toBe(true)
  expect(blocks[0]?.subarray(3200).every((byte) => byte === 0xff)).toBe(true)
})
