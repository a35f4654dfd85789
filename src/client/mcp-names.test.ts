import { expect, test } from 'vitest'
import { createApiClient } from './call.ts'
import { assignNames, findName } from './mcp-names.ts'

/** How many originals and bytes each call had. */
let calls: { originals: number; bytes: number }[] = []

const api = createApiClient(async ({ body = '{}' }) => {
  const { originals }: { originals: string[] } = JSON.parse(body)
  calls.push({ originals: originals.length, bytes: Buffer.byteLength(body) })
  return { status: 200, body: JSON.stringify({ exposed: originals.map((original) => original.slice(0, 4).trim()) }) }
})
const ask = (originals: readonly string[]) => {
  calls = []
  return assignNames(api, { server: 'wide', what: 'tool', originals })
}

test('an answer of another length is none', async () => {
  const short = createApiClient(async () => ({ status: 200, body: '{"exposed":["a"]}' }))
  await expect(assignNames(short, { server: 's', what: 'tool', originals: ['a', 'b'] })).rejects.toMatchObject({ code: 'unavailable' })
})

test('thousands of names are asked for in parts, in order', async () => {
  expect(await ask(Array.from({ length: 1200 }, (_, index) => String(index)))).toEqual(
    Array.from({ length: 1200 }, (_, index) => String(index)),
  )
  expect(calls.map(({ originals }) => originals)).toEqual([500, 500, 200])
})

test('a part is never larger than the Auth Service takes, whatever the characters', async () => {
  expect(await ask(Array.from({ length: 300 }, () => '\u0001'.repeat(1024)))).toHaveLength(300)
  expect(Math.max(...calls.map(({ bytes }) => bytes))).toBeLessThan(1024 * 1024)
})

test('nothing is asked for without originals, and nobody is undefined', async () => {
  expect(await ask([])).toEqual([])
  expect(calls).toEqual([])
  const nobody = createApiClient(async () => ({ status: 200, body: '{"found":null}' }))
  expect(await findName(nobody, 'tool', 'x')).toBeUndefined()
})
