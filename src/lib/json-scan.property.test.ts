import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isAccepted, scanOne } from './json-scan.fixture.ts'
import { stringAt, textAt } from './json-scan.ts'
import { hasUnreliableKey } from './message-names.ts'

describe('the scan agrees with JSON.parse', () => {
  const key = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('id', 'method', 'name', '__proto__', 'params'))
  const value = fc.jsonValue({ maxDepth: 6, stringUnit: 'binary' })
  const message = fc.dictionary(key, value).chain((top) => fc.dictionary(key, value).map((params) => ({ ...top, params })))
  const spaces = fc.constantFrom(0, 1, '\t', '\n')

  test('every generated message is scanned and its spans hold its members', () => {
    fc.assert(
      fc.property(message, spaces, (object, space) => {
        const text = JSON.stringify(object, null, space)
        fc.pre(!hasVariant(object) && !hasUnreliableKey(text))
        const bytes = Buffer.from(text)
        const scanned = scanOne(text)
        const parsed: Record<string, unknown> = JSON.parse(text)
        for (const [name, span] of scanned.members) expect(JSON.parse(textAt(bytes, span))).toEqual(parsed[name])
        expect(scanned.other).toBe(Object.keys(parsed).some((name) => !scanned.members.has(name)))
        const params = Object.entries(object.params)
        expect([...scanned.paramsMembers.keys()].sort()).toEqual(params.map(([name]) => name).sort())
        for (const [name, item] of params) {
          const span = scanned.paramsMembers.get(name) ?? { start: 0, end: 0 }
          expect(JSON.stringify(JSON.parse(textAt(bytes, span)))).toBe(JSON.stringify(item))
          if (typeof item === 'string') expect(stringAt(bytes, span)).toBe(JSON.parse(JSON.stringify(item)))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('mutated text is accepted exactly when it is unambiguous JSON', () => {
    let accepted = 0
    const characters = fc.constantFrom(...'{}[]",:\\ue+-.019tfn \n\tA'.split(''))
    const mutation = fc.tuple(fc.nat(), characters, fc.constantFrom('put', 'replace', 'drop', 'double'))
    fc.assert(
      fc.property(message, fc.array(mutation, { maxLength: 2 }), fc.option(fc.nat(255), { freq: 2 }), (object, mutations, byte) => {
        let text = JSON.stringify(object)
        for (const [place, char, kind] of mutations) text = mutate(text, place % (text.length + 1), char, kind)
        fc.pre(!hasUnreliableKey(text))
        const bytes = Buffer.from(text)
        if (byte !== null) bytes[byte % bytes.length] = byte
        const expected = isUtf8(bytes) && isUnambiguous(bytes.toString())
        if (expected) accepted++
        expect(isAccepted(bytes)).toBe(expected)
      }),
      { numRuns: 2000 },
    )
    expect(accepted).toBeGreaterThan(100)
  })

  function mutate(text: string, at: number, char: string, kind: string): string {
    if (kind === 'put') return text.slice(0, at) + char + text.slice(at)
    if (kind === 'replace') return text.slice(0, at) + char + text.slice(at + 1)
    if (kind === 'drop') return text.slice(0, at) + text.slice(at + 1)
    return text.slice(0, at) + text.slice(Math.max(0, at - 8))
  }

  function isUnambiguous(text: string): boolean {
    let duplicates = false
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
      duplicates = countMembers(text) !== countKeys(parsed)
    } catch {
      return false
    }
    return typeof parsed === 'object' && parsed !== null && !duplicates && !hasVariant(parsed)
  }

  /** Colons outside strings: one a member as written. */
  function countMembers(text: string): number {
    return text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').split(':').length - 1
  }

  /** Members after parsing, where a duplicate has taken its twin's place. */
  function countKeys(parsed: unknown): number {
    if (typeof parsed !== 'object' || parsed === null) return 0
    const items: unknown[] = Object.values(parsed)
    return items.reduce<number>((sum, item) => sum + countKeys(item), Array.isArray(parsed) ? 0 : items.length)
  }

  function hasVariant(parsed: object): boolean {
    if (Array.isArray(parsed)) return false
    const params: unknown = Object.hasOwn(parsed, 'params') && 'params' in parsed ? parsed.params : undefined
    const top = ['jsonrpc', 'id', 'method', 'params', 'result', 'error']
    const inner = (
      'name uri arguments _meta cursor ref argument requestId progressToken level inputResponses requestState taskId protocolVersion ' +
      'capabilities clientInfo notifications'
    ).split(' ')
    const differs = (known: string[], name: string): boolean =>
      known.some((word) => word !== name && word.toLowerCase() === name.toUpperCase().toLowerCase())
    if (Object.keys(parsed).some((name) => differs(top, name))) return true
    if (typeof params !== 'object' || params === null || Array.isArray(params)) return false
    return Object.keys(params).some((name) => differs(inner, name))
  }
})
