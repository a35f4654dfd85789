import { expect, it } from 'vitest'
import { z } from 'zod'
import { AppError } from './errors.ts'
import { checkAgainst } from './schema.ts'
import { parseYamlDocuments } from './yaml.ts'

const schema = z.strictObject({
  kind: z.literal('app'),
  metadata: z.strictObject({ name: z.string(), labels: z.record(z.string().min(1, 'must not be empty'), z.string()).optional() }),
  spec: z.strictObject({
    mode: z.enum(['fast', 'slow']).optional(),
    size: z.number().max(10, 'must be at most 10').optional(),
    mcp: z.strictObject({ command: z.string(), args: z.array(z.string()).optional() }).optional(),
    names: z.union([z.string(), z.array(z.string())]).optional(),
    join: z
      .union([z.strictObject({ type: z.literal('token'), token: z.string() }), z.strictObject({ type: z.literal('iam'), arn: z.string() })])
      .optional(),
    by: z.discriminatedUnion('method', [z.strictObject({ method: z.literal('a') }), z.strictObject({ method: z.literal('b') })]).optional(),
  }),
})

const HEAD = 'kind: app\nmetadata:\n  name: x\nspec:\n'

it.each<[name: string, text: string, message: string]>([
  ['a wrong type', `${HEAD}  mcp:\n    command: x\n    args: -v\n`, 'app.yaml:7:11 spec.mcp.args: expected array, received string'],
  [
    'a wrong type in a list',
    `${HEAD}  mcp:\n    command: x\n    args: [a, 1]\n`,
    'app.yaml:7:15 spec.mcp.args[1]: expected string, received number',
  ],
  [
    'an unknown key, at its own place and with the right one',
    `${HEAD}  mcp:\n    command: x\n    agrs: []\n`,
    'app.yaml:7:5 spec.mcp: unknown key "agrs" (did you mean "args"?)',
  ],
  ['an unknown key like no other', `${HEAD}  telepathy: 1\n`, 'app.yaml:5:3 spec: unknown key "telepathy"'],
  ['a missing key, at its parent', `${HEAD}  mcp:\n    args: []\n`, 'app.yaml:5:3 spec.mcp.command: required'],
  ['a missing literal', 'metadata: {name: x}\nspec: {}\n', 'app.yaml:1:1 kind: required'],
  ['null where a value belongs', `${HEAD}  mcp:\n    command:\n`, 'app.yaml:6:13 spec.mcp.command: expected string, received null'],
  ['a wrong word', `${HEAD}  mode: fats\n`, 'app.yaml:5:9 spec.mode: must be "fast" or "slow" (did you mean "fast"?)'],
  ["the schema's own words", `${HEAD}  size: 11\n`, 'app.yaml:5:9 spec.size: must be at most 10'],
  [
    'a label that must be text',
    'kind: app\nmetadata:\n  name: x\n  labels:\n    "a b": 1\nspec: {}\n',
    'app.yaml:5:12 metadata.labels["a b"]: expected string, received number',
  ],
  [
    'a key that is not allowed',
    'kind: app\nmetadata:\n  name: x\n  labels:\n    "": a\nspec: {}\n',
    'app.yaml:5:5 metadata.labels[""]: not allowed as a key: must not be empty',
  ],
  ['a union of types', `${HEAD}  names: 4\n`, 'app.yaml:5:10 spec.names: expected string or array, received number'],
  ['the fitting type of a union', `${HEAD}  names: [a, 4]\n`, 'app.yaml:5:14 spec.names[1]: expected string, received number'],
  [
    'the branch whose words fit',
    `${HEAD}  join: {type: iam, arm: x}\n`,
    'app.yaml:5:3 spec.join.arn: required\napp.yaml:5:21 spec.join: unknown key "arm" (did you mean "arn"?)',
  ],
  ['a discriminator', `${HEAD}  by: {method: c}\n`, 'app.yaml:5:16 spec.by.method: must be "a" or "b"'],
  ['not an object at all', '- a\n', 'app.yaml:1:1 expected object, received array'],
  [
    'several faults at once',
    'kind: ap\nmetadata: {}\nspec: {mode: 1}\n',
    'app.yaml:1:7 kind: must be "app" (did you mean "app"?)\napp.yaml:2:1 metadata.name: required\napp.yaml:3:14 spec.mode: must be "fast" or "slow"',
  ],
])('says %s', (_name, text, message) => {
  expect(failure(check(text))).toMatchObject({ code: 'invalid_argument', message })
})

it('lists the faults for programs too', () => {
  expect(failure(check(`${HEAD}  size: big\n`)).details).toEqual({
    faults: [{ path: 'spec.size', line: 5, column: 9, message: 'expected number, received string' }],
  })
})

it('gives the typed value', () => {
  expect(check(`${HEAD}  names: a\n`)()).toEqual({ kind: 'app', metadata: { name: 'x' }, spec: { names: 'a' } })
})

it('points into the right one of several documents', () => {
  const documents = parseYamlDocuments(`${HEAD}  {}\n---\n${HEAD}  mode: no\n`, 'app.yaml')
  const [, second] = documents
  if (!second) throw new Error('two documents expected')
  expect(() => checkAgainst(schema, second, 'app.yaml')).toThrow('app.yaml:11:9 spec.mode: must be "fast" or "slow"')
})

function check(text: string): () => z.infer<typeof schema> {
  const [document] = parseYamlDocuments(text, 'app.yaml')
  if (!document) throw new Error('no document')
  return () => checkAgainst(schema, document, 'app.yaml')
}

function failure(attempt: () => unknown): AppError {
  try {
    attempt()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('was accepted')
}
