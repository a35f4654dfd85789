import { expect, test } from 'vitest'
import { parseExact, renderExact } from '../../lib/json-scan.ts'
import { checkItem, checkTool, isDeeperThan, withItems } from './tools.ts'

const nest = (depth: number): unknown => JSON.parse(`${'{"not":'.repeat(depth)}{}${'}'.repeat(depth)}`)

test.each([
  ['null', null, 'its inputSchema is no object'],
  ['a text', 'object', 'its inputSchema is no object'],
  ['false', false, 'its inputSchema is no object'],
  ['a list', [], 'its inputSchema is no object'],
  ['another type', { type: 'string' }, 'the type of its inputSchema must be "object"'],
  ['a list of properties', { type: 'object', properties: ['a'] }, 'the properties of its inputSchema are no object'],
  ['a property without a schema', { type: 'object', properties: { a: null } }, 'a property of its inputSchema has no schema'],
  ['a text for a property', { type: 'object', properties: { a: 'string' } }, 'a property of its inputSchema has no schema'],
  ['too deep a schema', nest(64), 'it is nested deeper than 64 levels'],
])('a tool with %s for its schema goes to quarantine', (_, inputSchema, fault) => {
  expect(checkTool({ name: 'x', inputSchema })).toEqual({ fault })
})

test('a tool that is too large goes to quarantine, and one that is deeper than any stack too', () => {
  expect(checkTool({ name: 'x', description: 'x'.repeat(256 * 1024) })).toEqual({ fault: 'it is larger than 256 KB' })
  expect(checkTool({ name: 'x', inputSchema: nest(4000) })).toEqual({ fault: 'it is nested deeper than 64 levels' })
})

test.each([
  ['none', undefined, { type: 'object' }],
  ['{}', {}, { type: 'object' }],
  ['true', true, { type: 'object' }],
  ['a root anyOf', { anyOf: [{ required: ['a'] }] }, { anyOf: [{ required: ['a'] }], type: 'object' }],
  ['a list of types', { type: ['object', 'null'] }, { type: 'object' }],
  ['an empty list of properties', { type: 'object', properties: [] }, { type: 'object', properties: {} }],
  [
    'booleans for schemas',
    {
      type: 'object',
      properties: { a: true, b: false, c: { type: 'array', items: true }, d: { properties: { e: true } } },
      additionalProperties: false,
    },
    {
      type: 'object',
      properties: { a: {}, b: { not: {} }, c: { type: 'array', items: {} }, d: { properties: { e: {} } } },
      additionalProperties: false,
    },
  ],
])('a tool with %s for its schema is repaired', (_, inputSchema, repaired) => {
  expect(checkTool({ name: 'x', ...(inputSchema !== undefined && { inputSchema }) })).toEqual({
    item: { name: 'x', inputSchema: repaired },
  })
})

test('what is well stays as it is, numbers, enums and defaults included', () => {
  const text =
    '{"name":"x","inputSchema":{"type":"object","properties":{"n":{"const":1.0,"default":true,"enum":[true,false],"maximum":1e400}}},"x":{"items":true}}'
  const checked = checkTool(JSON.parse('{}'))
  expect(checked).toEqual({ item: { inputSchema: { type: 'object' } } })
  const tool = parseExact(text)
  if (typeof tool !== 'object' || tool === null) throw new Error('no tool')
  const kept = checkTool({ ...tool })
  expect(renderExact('item' in kept ? kept.item : kept)).toBe(text)
})

test('members of the wrong type are left out', () => {
  expect(checkItem({ name: 'x', title: 7, description: null, annotations: [], _meta: 'm', icons: {}, size: 7 })).toEqual({
    item: { name: 'x', size: 7 },
  })
})

test('arrays without items get them, for clients that insist', () => {
  expect(
    withItems({
      type: 'object',
      properties: { a: { type: 'array' }, b: { anyOf: [{ type: ['array', 'null'] }] }, c: { type: 'array', items: { type: 'string' } } },
    }),
  ).toEqual({
    type: 'object',
    properties: {
      a: { type: 'array', items: {} },
      b: { anyOf: [{ type: ['array', 'null'], items: {} }] },
      c: { type: 'array', items: { type: 'string' } },
    },
  })
})

test('depth is counted in levels', () => {
  expect([isDeeperThan({ a: { b: 1 } }, 2), isDeeperThan({ a: { b: 1 } }, 1)]).toEqual([false, true])
})
