import { beforeEach, expect, test } from 'vitest'
import { type McpSet, mcpSetSchema } from '../../resources/mcp-set.ts'
import type { AggregateCaller } from './aggregate-callers.ts'
import { createFakeNames } from './aggregate-fixture.ts'
import { createView, readOwner } from './aggregate-view.ts'
import { ExposedNames } from './exposed-names.ts'

const ANA: AggregateCaller = {
  owner: 'user:ana:T1',
  expiresAt: 1,
  servers: [
    { name: 'git', description: 'code', labels: { env: 'dev' } },
    { name: 'db', labels: { env: 'prod' } },
  ],
}

let names: ExposedNames
let caller: AggregateCaller
/** In place of the set that a view was made with. */
let changed: { set: McpSet | undefined } | undefined
beforeEach(() => {
  changed = undefined
  names = new ExposedNames(createFakeNames().api)
  caller = ANA
})

const setOf = (spec: object) =>
  mcpSetSchema.parse({ kind: 'mcp_set', version: 'v1', metadata: { name: 'dev' }, spec: { servers: { names: ['git', 'db'] }, ...spec } })
const view = (spec?: object) => {
  const set = spec && setOf(spec)
  return createView({
    caller,
    current: async () => caller,
    refusal: () => undefined,
    set,
    currentSet: () => (changed ? changed.set : set),
    serve: (server) => () => void server,
    names,
  })
}
const membersOf = async (spec?: object) => (await view(spec).members()).map(({ name }) => name)

test('a set shows no server that the caller may not use', async () => {
  expect(await membersOf({ servers: { names: ['secret'] } })).toEqual([])
  expect(await membersOf({ servers: { names: ['secret', 'db'] } })).toEqual(['db'])
  caller = { ...ANA, servers: [] }
  expect(await membersOf({ servers: { labels: { '*': '*' } } })).toEqual([])
})

test('a view that outlives its set shows what the set is now', async () => {
  const mine = view({})
  expect((await mine.members()).map(({ name }) => name)).toEqual(['git', 'db'])
  changed = { set: setOf({ servers: { names: ['db'] } }) }
  expect((await mine.members()).map(({ name }) => name)).toEqual(['db'])
  changed = { set: undefined }
  expect(await mine.members()).toEqual([])
})

test('two sets are two owners', () => {
  expect([view().owner, view({}).owner]).toEqual(['user:ana:T1', 'user:ana:T1 dev'])
  expect([readOwner('user:ana:T1'), readOwner('user:ana:T1 dev')]).toEqual([
    { owner: 'user:ana:T1', set: undefined },
    { owner: 'user:ana:T1', set: 'dev' },
  ])
})

test('without a set all are shown, and are others once the caller may use others', async () => {
  const mine = view()
  expect((await mine.members()).map(({ name, description }) => ({ name, description }))).toEqual([
    { name: 'git', description: 'code' },
    { name: 'db', description: undefined },
  ])
  caller = { ...ANA, servers: ANA.servers.slice(0, 1) }
  expect((await mine.members()).map(({ name }) => name)).toEqual(['git'])
  expect([mine.discovery, mine.includesTool, mine.instructions]).toEqual(['auto', undefined, undefined])
})

test('a set says how tools are discovered, which of them, and a word to the model', () => {
  const mine = view({ discovery: 'search', instructions: 'be kind', tools: { exclude: ['git/push'] } })
  expect([mine.discovery, mine.instructions]).toEqual(['search', 'be kind'])
  expect([mine.includesTool?.('git', 'push'), mine.includesTool?.('db', 'push')]).toEqual([false, true])
})

test('a renamed tool has its new name only, and no other tool has it', async () => {
  const mine = view({
    rename: [
      { server: 'git', tool: 'log', name: 'db_query' },
      { server: 'db', tool: 'gone', name: 'Git-Show' },
    ],
  })
  expect(await mine.namesFor('git', 'tool', ['log', 'push', 'show'])).toEqual(['db_query', 'git_push', undefined])
  expect(await mine.namesFor('db', 'tool', ['query', 'unlucky'])).toEqual([undefined, undefined])
  expect(await mine.findName('tool', 'db_query')).toEqual({ server: 'git', original: 'log' })
  expect(await mine.findName('tool', 'git_log')).toBeUndefined()
  expect(await mine.findName('tool', 'git_show')).toBeUndefined()
  expect(await mine.findName('tool', 'git_push')).toEqual({ server: 'git', original: 'push' })
  expect(await view().findName('tool', 'git_log')).toEqual({ server: 'git', original: 'log' })
})

test('prompts keep their names', async () => {
  const mine = view({ rename: [{ server: 'git', tool: 'log', name: 'history' }] })
  expect(await mine.namesFor('git', 'prompt', ['log'])).toEqual(['git_log'])
  expect(await mine.findName('prompt', 'git_log')).toEqual({ server: 'git', original: 'log' })
  expect(await mine.findName('prompt', 'history')).toBeUndefined()
})
