import { expect, test } from 'vitest'
import {
  bitString,
  boolean,
  contentOf,
  elementsOf,
  explicit,
  implicit,
  integer,
  namedBits,
  objectId,
  octetString,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

test('refuses what DER cannot say', () => {
  expect(() => integer(-1)).toThrow('not a non-negative integer')
  expect(() => integer(2 ** 53)).toThrow('not a non-negative integer')
  expect(() => objectId('1')).toThrow('not an object identifier')
  expect(() => objectId('1.x.3')).toThrow('not an object identifier')
  expect(() => printableString('a@b')).toThrow('PrintableString')
  expect(() => namedBits(16)).toThrow('out of range')
  expect(() => time(Number.NaN)).toThrow('between 1950 and 9999')
  expect(() => time(Date.UTC(1949, 11, 31))).toThrow('between 1950 and 9999')
})

test('reading refuses elements that are cut short or of indefinite length', () => {
  expect(() => contentOf(Buffer.from('3005', 'hex'))).toThrow('cut short')
  expect(() => contentOf(Buffer.from('30', 'hex'))).toThrow('cut short')
  expect(() => contentOf(Buffer.from('30800000', 'hex'))).toThrow('not understood')
  expect(() => elementsOf(Buffer.from('30030205ff', 'hex'))).toThrow('cut short')
})

test('writes minimal integers that never look negative', () => {
  expect(hex(integer(0))).toBe('020100')
  expect(hex(integer(127))).toBe('02017f')
  expect(hex(integer(128))).toBe('02020080')
  expect(hex(integer(65_537))).toBe('0203010001')
  expect(hex(integer(Buffer.from('000080', 'hex')))).toBe('02020080')
  expect(hex(integer(Buffer.from('0000', 'hex')))).toBe('020100')
  expect(hex(integer(Buffer.alloc(0)))).toBe('020100')
})

test('writes object identifiers with arcs of several bytes', () => {
  expect(hex(objectId('1.2.840.10045.4.3.2'))).toBe('06082a8648ce3d040302')
  expect(hex(objectId('2.5.29.37'))).toBe('0603551d25')
  expect(hex(objectId('2.999.3'))).toBe('0603883703')
})

test('writes long lengths', () => {
  expect(hex(octetString(Buffer.alloc(127)).subarray(0, 3))).toBe('047f00')
  expect(hex(octetString(Buffer.alloc(128)).subarray(0, 4))).toBe('04818000')
  expect(hex(octetString(Buffer.alloc(256)).subarray(0, 5))).toBe('0482010000')
  expect(contentOf(octetString(Buffer.alloc(70_000))).length).toBe(70_000)
})

test('writes UTCTime through 2049 and GeneralizedTime after', () => {
  expect(time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)).toString('latin1')).toBe('\x17\x0d491231235959Z')
  expect(time(Date.UTC(2050, 0, 1)).toString('latin1')).toBe('\x18\x0f20500101000000Z')
})

test('writes the other types', () => {
  expect(hex(boolean(true))).toBe('0101ff')
  expect(hex(boolean(false))).toBe('010100')
  expect(hex(utf8String('é'))).toBe('0c02c3a9')
  expect(hex(printableString('Ab 1'))).toBe('130441622031')
  expect(hex(bitString(Buffer.of(1, 2)))).toBe('0303000102')
  expect(hex(namedBits(0))).toBe('03020780')
  expect(hex(namedBits(5, 6))).toBe('03020106')
  expect(hex(namedBits(8))).toBe('0303070080')
  expect(hex(namedBits())).toBe('030100')
  expect(hex(explicit(3, boolean(true)))).toBe('a3030101ff')
  expect(hex(implicit(2, Buffer.from('a')))).toBe('820161')
  expect(hex(set(Buffer.from('020102', 'hex'), Buffer.from('020101', 'hex')))).toBe('3106020101020102')
})

test('reads back the elements of a sequence', () => {
  const parts = elementsOf(sequence(integer(5), sequence(boolean(true)), octetString(Buffer.alloc(200))))
  expect(parts.map((part) => part.length)).toEqual([3, 5, 203])
  expect(hex(contentOf(parts[1] ?? Buffer.alloc(0)))).toBe('0101ff')
})
