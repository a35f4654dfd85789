import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type DiskUse, JournalRoom, measureDisk } from './journal-room.ts'

const MIB = 1024 ** 2
const LARGE = { freeBytes: 500_000 * MIB, diskBytes: 1_000_000 * MIB }

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function start(use: DiskUse) {
  const disk = { ...use }
  const room = new JournalRoom({ maxBytes: 100 * MIB, measure: () => ({ ...disk }) })
  /** What a call, and what was refused, is told. */
  const told = (): string[] =>
    [() => room.assertForCall(), () => room.assertForPoint()].map((ask) => {
      try {
        ask()
        return 'room'
      } catch (error) {
        return String(error)
      }
    })
  return { disk, room, told }
}

const HELD = expect.stringContaining('the audit journal of the gateway holds')
const NEARLY = expect.stringContaining('the disk of the audit journal is nearly full')

test.each([
  ['a journal that has as much as it may', { ...LARGE, bytes: 100 * MIB }, [HELD, 'room']],
  ['one that has far more', { ...LARGE, bytes: 356 * MIB }, [HELD, HELD]],
  ['a disk without the room that the store needs', { ...LARGE, bytes: 0, freeBytes: 255 * MIB }, [NEARLY, 'room']],
  ['a disk that is full but for half of that', { ...LARGE, bytes: 0, freeBytes: 127 * MIB }, [NEARLY, NEARLY]],
  ['a small disk with less than a twentieth', { bytes: 0, freeBytes: 4 * MIB, diskBytes: 100 * MIB }, [NEARLY, 'room']],
])('%s takes no call', (_, use, told) => {
  expect(start(use).told()).toEqual(told)
})

test.each([
  [{ ...LARGE, bytes: 100 * MIB - 1 }],
  [{ ...LARGE, bytes: 0, freeBytes: 256 * MIB }],
  [{ bytes: 0, freeBytes: 5 * MIB, diskBytes: 100 * MIB }],
])('there is room otherwise: %j', (use) => {
  expect(start(use).told()).toEqual(['room', 'room'])
})

test('the disk is looked at again after so many bytes, and every second while there is no room', () => {
  const { disk, room, told } = start({ ...LARGE, bytes: 0 })
  disk.bytes = 100 * MIB
  room.wrote(4 * MIB - 1)
  expect(told()).toEqual(['room', 'room'])
  room.wrote(1)
  expect(told()).toEqual([HELD, 'room'])
  disk.bytes = 50 * MIB
  vi.advanceTimersByTime(1000)
  expect(told()).toEqual(['room', 'room'])
  expect(vi.getTimerCount()).toBe(0)
})

test('while nobody can look at the disk, what was found last holds', () => {
  let use: DiskUse | undefined = { ...LARGE, bytes: 100 * MIB }
  const measure = (): DiskUse => {
    if (!use) throw new Error('EMFILE: too many open files')
    return use
  }
  const room = new JournalRoom({ maxBytes: 100 * MIB, measure })
  use = undefined
  vi.advanceTimersByTime(3000)
  expect(() => room.assertForCall()).toThrow('the audit journal of the gateway holds')
  use = { ...LARGE, bytes: 0 }
  vi.advanceTimersByTime(1000)
  use = undefined
  room.wrote(4 * MIB)
  expect(() => room.assertForCall()).not.toThrow()
  room.close()
})

test('the files of a journal are what it takes', () => {
  const directory = mkdtempSync(join(tmpdir(), 'room-'))
  writeFileSync(join(directory, 'a'), 'x'.repeat(10))
  writeFileSync(join(directory, 'b'), 'x'.repeat(5))
  const { bytes, freeBytes, diskBytes } = measureDisk(directory)
  expect([bytes, freeBytes > 0, diskBytes > freeBytes]).toEqual([15, true, true])
  rmSync(directory, { recursive: true })
})
