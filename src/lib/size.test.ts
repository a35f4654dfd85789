import { expect, test } from 'vitest'
import { findSize } from './size.ts'

test('what is no size is undefined', () => {
  for (const text of ['', 'MiB', '-1', '1e9', '5 TB', '1MiBs', '12345678901234567GiB', '0x10', '1,5G', 'constructor'])
    expect([text, findSize(text)]).toEqual([text, undefined])
})

test('units are decimal with a B, binary with an i or alone', () => {
  expect(['4096', '64B', '2KB', '2KiB', '2K', '1.5MiB', '3 GB', '1G'].map(findSize)).toEqual([
    4096, 64, 2000, 2048, 2048, 1572864, 3000000000, 1073741824,
  ])
})
