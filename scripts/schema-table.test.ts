import { expect, test } from 'vitest'
import { z } from 'zod'
import { describeType, listFields, renderTable } from './schema-table.ts'

test('lists fields with their type, default and description, parents before members', () => {
  const schema = z.strictObject({
    name: z.string().describe('How it is called.'),
    mode: z.enum(['a', 'b']).default('a'),
    parts: z.array(z.strictObject({ size: z.int().optional() })).optional(),
    limits: z.record(z.string(), z.strictObject({ max: z.number() })).optional(),
  })
  expect(listFields(schema)).toEqual([
    { path: 'name', type: 'string', required: true, default: undefined, description: 'How it is called.' },
    { path: 'mode', type: '"a", "b"', required: false, default: '"a"', description: '' },
    { path: 'parts', type: 'list of object', required: false, default: undefined, description: '' },
    { path: 'parts[].size', type: 'integer', required: false, default: undefined, description: '' },
    { path: 'limits', type: 'map to object', required: false, default: undefined, description: '' },
    { path: 'limits.*.max', type: 'number', required: true, default: undefined, description: '' },
  ])
})

test('shows what may be written, with the default that stands behind a transform', () => {
  const schema = z.strictObject({
    level: z
      .string()
      .transform((text) => text.length)
      .default(4),
  })
  expect(listFields(schema)).toEqual([{ path: 'level', type: 'string', required: false, default: '4', description: '' }])
})

test('names types that have no fields', () => {
  expect(describeType(z.array(z.union([z.string(), z.null()])))).toBe('list of string or null')
})

test('cells cannot break a table', () => {
  expect(renderTable(['a'], [['x | y\nz']])).toBe('| a |\n| --- |\n| x \\| y z |\n')
})
