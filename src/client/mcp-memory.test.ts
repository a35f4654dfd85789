import { mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { answer, HELLO, INITIALIZE, INITIALIZED, legacy, type Serve, start } from './mcp-bridge-fixture.ts'
import { createAnswerMemory } from './mcp-memory.ts'

const LIST = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
const CALL = '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t"}}'
const tools = (name: string) => `{"tools":[{"name":"${name}"}]}`

test('a refusal is told, whatever was answered before', async () => {
  const memory = await filled()
  const world = await start(legacy(), {
    memory,
    open: () => Promise.reject(new AppError('not_found', 'there is no MCP server "demo"')),
  })
  world.client.write(`${INITIALIZE}\n`)
  expect(JSON.parse(await world.line()).error.message).toBe('[MCP_TELEPORT_ERROR] there is no MCP server "demo"')
})

test('another question, a further page, a call or another server has no answer from before', async () => {
  const folder = newFolder()
  const memory = await filled(folder)
  const other = createAnswerMemory({ folder, server: 'other', log: () => {} })
  const world = await start((_, response) => answer(response, 502, ''), { memory })
  const others = await start((_, response) => answer(response, 502, ''), { memory: other })
  for (const [each, line] of [
    [world, INITIALIZE.replace('2025-11-25', '2025-06-18')],
    [world, '{"jsonrpc":"2.0","id":0,"method":"tools/list","params":{"cursor":"x"}}'],
    [world, '{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"t"}}'],
    [world, '{"jsonrpc":"2.0","id":0,"method":"resources/list"}'],
    [others, INITIALIZE],
  ] as const) {
    each.client.write(`${line}\n`)
    expect(JSON.parse(await each.line()).error.message).toMatch(/^\[MCP_UPSTREAM_UNREACHABLE\]/)
  }
})

test('a list of before is not given while the server is only starting', async () => {
  const memory = await filled()
  const gate = Promise.withResolvers<void>()
  // A moment passes, but not as many seconds as it may take to start.
  const wait = (ms: number, signal: AbortSignal) => (ms < 1_000 ? Promise.resolve() : until(signal))
  const world = await start(slow(gate.promise, 'b'), { memory, wait })
  world.client.write(`${INITIALIZE}\n${INITIALIZED}\n${LIST}\n`)
  expect(await world.line()).toBe(HELLO())
  gate.resolve()
  expect(await world.line()).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools('b')}}`)
})

test('a server that is slow to start is known from before, and each question has one answer', async () => {
  const memory = await filled()
  const gate = Promise.withResolvers<void>()
  const world = await start(slow(gate.promise), { memory, wait: shortly })
  world.client.write(`${INITIALIZE}\n${INITIALIZED}\n${LIST}\n${CALL}\n`)
  expect(await world.line()).toBe(HELLO())
  expect(await world.line()).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools('a')}}`)
  expect(world.seen.map(({ body }) => body)).toEqual([INITIALIZE])
  gate.resolve()
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":2,"result":{"called":true}}')
  world.client.end()
  await world.done
  expect(world.written()).toEqual([])
  const posts = world.seen.filter(({ method }) => method === 'POST').map(({ body }) => body)
  expect(posts.slice(0, 2)).toEqual([INITIALIZE, INITIALIZED])
  expect(posts.slice(2).toSorted()).toEqual([LIST, CALL].toSorted())
})

test('a client that has an old list is told when it is no longer true', async () => {
  const memory = await filled()
  const gate = Promise.withResolvers<void>()
  const world = await start(slow(gate.promise, 'b'), { memory, wait: shortly })
  world.client.write(`${INITIALIZE}\n${INITIALIZED}\n${LIST}\n`)
  await world.line()
  expect(await world.line()).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools('a')}}`)
  gate.resolve()
  expect(await world.line()).toBe('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
  world.client.write(`${LIST}\n`)
  expect(await world.line()).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools('b')}}`)
})

test('expired credentials keep the tools; a call says what to do, and works after signing in', async () => {
  const memory = await filled()
  let isSignedIn = false
  const expired = new AppError('unauthenticated', 'your session expired 12m ago: run tsh login --proxy=p:443')
  const world = await start(slow(Promise.resolve()), {
    memory,
    open: () => (isSignedIn ? Promise.resolve() : Promise.reject(expired)),
  })
  world.client.write(`${INITIALIZE}\n`)
  expect(await world.line()).toBe(HELLO())
  world.client.write(`${INITIALIZED}\n`)
  expect(JSON.parse(await world.line())).toMatchObject({ method: 'notifications/tsherr' })
  world.client.write(`${LIST}\n`)
  expect(await world.line()).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools('a')}}`)
  world.client.write(`${CALL}\n`)
  expect(JSON.parse(await world.line()).error.message).toMatch(/^\[MCP_TELEPORT_LOGIN_REQUIRED\] your session expired/)
  isSignedIn = true
  world.client.write(`${CALL}\n`)
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":2,"result":{"called":true}}')
  expect(world.seen.filter(({ method }) => method === 'POST').map(({ body }) => body)).toEqual([INITIALIZE, INITIALIZED, CALL])
})

test.each([
  ['a new version of the server goes on', HELLO('2'), /"called":true/],
  ['another server in its place is told', HELLO('1', 'other'), /\[MCP_SERVER_CHANGED\]/],
])('%s', async (_, hello, expected) => {
  const memory = await filled()
  const gate = Promise.withResolvers<void>()
  const world = await start(slow(gate.promise, 'a', hello), { memory })
  world.client.write(`${INITIALIZE}\n${INITIALIZED}\n`)
  expect(await world.line()).toBe(HELLO())
  gate.resolve()
  world.client.write(`${CALL}\n`)
  const lines = [await world.line()]
  if (lines[0]?.includes('tsherr')) lines.push(await world.line())
  expect(lines.at(-1)).toMatch(expected)
})

test('a first page, an error and a damaged file are no answers', async () => {
  const folder = newFolder()
  const memory = createAnswerMemory({ folder, server: 'demo', log: () => {} })
  const list = message(LIST, 'tools/list')
  await memory.note(list, Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":"2"}}'))
  expect(await memory.find(list)).toBeUndefined()
  await memory.note(list, Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${tools('a')}}`))
  expect(String(await memory.find(list))).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools('a')}}`)
  const [file = ''] = readdirSync(folder)
  expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600)
  writeFileSync(join(folder, file), '{"tools":[')
  expect(await memory.find(list)).toBeUndefined()
  await memory.note(list, Buffer.from('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}'))
  expect(readdirSync(folder)).toEqual([])
})

/** Time that passes a hundred times as fast. */
function shortly(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms / 100, undefined, { signal }).catch(() => {})
}

function until(signal: AbortSignal): Promise<void> {
  return new Promise((fulfil) => signal.addEventListener('abort', () => fulfil(), { once: true }))
}

/** A memory that has seen one whole session. */
async function filled(folder = newFolder()) {
  const memory = createAnswerMemory({ folder, server: 'demo', log: () => {} })
  await memory.note(message(INITIALIZE, 'initialize'), Buffer.from(HELLO()))
  await memory.note(message(LIST, 'tools/list'), Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${tools('a')}}`))
  return memory
}

function message(line: string, method: string) {
  const id = method === 'initialize' ? '0' : '1'
  return {
    line: Buffer.from(line),
    kind: 'request' as const,
    ids: [id],
    method,
    name: undefined,
    modernVersion: undefined,
    cancels: undefined,
  }
}

function newFolder(): string {
  return join(mkdtempSync(join(tmpdir(), 'answers-')), 'caller')
}

/** A server that answers `initialize` once the gate is open. */
function slow(gate: Promise<void>, tool = 'a', hello = HELLO()): Serve {
  const rest = legacy()
  return ({ body, method, headers }, response) => {
    if (body.includes('"initialize"')) return void gate.then(() => answer(response, 200, hello, { 'mcp-session-id': 's1' }))
    if (body === LIST && headers['mcp-session-id'] === 's1')
      return answer(response, 200, `{"jsonrpc":"2.0","id":1,"result":${tools(tool)}}`)
    if (body === CALL && headers['mcp-session-id'] === 's1')
      return answer(response, 200, '{"jsonrpc":"2.0","id":2,"result":{"called":true}}')
    rest({ body, method, headers }, response)
  }
}
