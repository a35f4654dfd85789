import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chainHash, genesisHash, parseChained, renderChained, verifyChain } from './chain.ts'

const FOREIGN = 'f'.repeat(64)

function chained(texts: string[], cluster = 'example'): string[] {
  let prev = genesisHash(cluster)
  return texts.map((text, index) => {
    const hash = chainHash(prev, text)
    const line = renderChained(text, { seq: index + 1, prev, hash })
    prev = hash
    return line
  })
}

const texts = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => JSON.stringify({ uid: `u${index + 1}`, cluster_name: 'example', n: index }))

function replaceAt(lines: string[], index: number, ...items: string[]): string[] {
  return lines.toSpliced(index, 1, ...items)
}

describe('found with the lines alone', () => {
  const lines = chained(texts(5))
  const [one = '', two = '', three = '', four = '', five = ''] = lines

  test.each([
    ['a changed value', [one, two.replace('"n":1', '"n":7'), three, four, five], 2, 'the record was changed'],
    ['a changed hash', [one, `${two.slice(0, -4)}${two.at(-4) === '0' ? '1' : '0'}"}}`, three], 2, 'the record was changed'],
    ['a missing record', [one, two, four, five], 3, 'missing: seq 3 to 3'],
    ['an exchanged pair', [one, three, two, four], 2, 'missing: seq 2 to 2'],
    ['a repeated record', [one, two, two, three], 3, 'out of order: seq 2 after seq 2'],
    ['an inserted record', [one, two, chained(texts(3), 'other')[2] ?? '', four], 3, 'does not follow seq 2'],
    ['a record of another cluster first', [chained(texts(1), 'other')[0] ?? '', two], 1, 'is not the first record of its cluster'],
    ['half a line', [one, two.slice(0, 50)], 2, 'not a record of the chain'],
    ['a record without its link', [one, texts(2)[1] ?? ''], 2, 'not a record of the chain'],
  ])('%s', async (_, given, line, reason) => {
    const verdict = await verifyChain(given)
    expect(verdict.ok).toBe(false)
    expect(verdict.firstBroken?.line).toBe(line)
    expect(verdict.firstBroken?.reason).toContain(reason)
  })

  test('a cut end and a wrong beginning show against what is expected', async () => {
    const last = parseChained(five)
    const head = { seq: 5, hash: last?.hash ?? '' }
    expect(await verifyChain(lines, { expectLast: head })).toMatchObject({ ok: true, count: 5 })
    expect(await verifyChain([one, two, three], { expectLast: head })).toMatchObject({ ok: false, count: 3 })
    expect(await verifyChain([], { expectLast: head })).toMatchObject({ ok: false })
    expect(await verifyChain([three, four], { expectFirst: { seq: 3, prev: parseChained(two)?.hash ?? '' } })).toMatchObject({ ok: true })
    expect(await verifyChain([three, four], { expectFirst: { seq: 3, prev: FOREIGN } })).toMatchObject({ ok: false })
    expect(await verifyChain([four], { expectFirst: { seq: 3, prev: FOREIGN } })).toMatchObject({ ok: false })
  })
})

test('a whole chain is sound; one that begins later says where', async () => {
  const lines = chained(texts(4))
  expect(await verifyChain(lines)).toMatchObject({ ok: true, count: 4, startsAt: 1, last: { seq: 4 } })
  expect(await verifyChain([...lines.slice(2), ''])).toMatchObject({ ok: true, count: 2, startsAt: 3 })
  expect(await verifyChain([])).toEqual({ ok: true, count: 0, startsAt: undefined, last: undefined })
})

test('hashes and rendering are fixed: other tools verify them', () => {
  expect(genesisHash('example')).toBe('a9949ef9d69201acceb77554449dee0c90c3838d04339df1640df7a3764eeeef')
  expect(chainHash('0'.repeat(64), '{"a":1}')).toBe('f21735afd2cd6af4fc5804b0045cebfd545aef8396d29d030c39cb8880b45b7f')
  expect(renderChained('{"a":1}', { seq: 7, prev: 'p', hash: 'h' })).toBe('{"a":1,"chain":{"seq":7,"prev":"p","hash":"h"}}')
})

describe('properties', () => {
  const jsonTexts = fc.array(
    fc
      .dictionary(fc.string(), fc.jsonValue(), { maxKeys: 4 })
      .map((fields) => JSON.stringify({ ...fields, uid: 'u', cluster_name: 'example' })),
    { minLength: 2, maxLength: 8 },
  )

  test('the exact text comes back, whatever it contains', async () => {
    await fc.assert(
      fc.asyncProperty(jsonTexts, async (given) => {
        const lines = chained(given)
        expect(lines.map((line) => parseChained(line)?.text)).toEqual(given)
        expect(lines.every((line) => typeof JSON.parse(line) === 'object')).toBe(true)
        expect(await verifyChain(lines)).toMatchObject({ ok: true, count: given.length })
      }),
      { numRuns: 100 },
    )
  })

  test('any changed character is found', async () => {
    await fc.assert(
      fc.asyncProperty(jsonTexts, fc.nat(), fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), async (given, which, where, character) => {
        const lines = chained(given)
        const index = which % lines.length
        const line = lines[index] ?? ''
        const at = where % line.length
        fc.pre(line[at] !== character)
        const verdict = await verifyChain(replaceAt(lines, index, line.slice(0, at) + character + line.slice(at + 1)))
        // A first record that claims another place is taken for a chain that begins later, until the second does not follow it.
        expect(verdict.ok).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  test('any removal within, exchange or repetition is found', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 3, max: 9 }), fc.nat(), fc.nat(), async (count, a, b) => {
        const lines = chained(texts(count))
        const i = 1 + (a % (count - 2))
        const j = b % count
        expect((await verifyChain(lines.toSpliced(i, 1))).ok).toBe(false)
        expect((await verifyChain(lines.toSpliced(j, 0, lines[i] ?? ''))).ok).toBe(false)
        if (i !== j) expect((await verifyChain(lines.with(i, lines[j] ?? '').with(j, lines[i] ?? ''))).ok).toBe(false)
      }),
    )
  })
})
