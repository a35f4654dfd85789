import { mkdtempSync } from 'node:fs'
import { createServer, request as send } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { createApiClient } from './call.ts'
import { createMcpEndpoint } from './mcp-endpoint.ts'
import { type McpForwarderOptions, startMcpForwarder } from './mcp-forwarder.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const LIST = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
const DONE = '{"jsonrpc":"2.0","id":1,"result":{}}'

test.each([
  ['a page that rebound its name to us', { host: 'evil.example' }, 403],
  ['a page of another origin', { origin: 'https://evil.example' }, 403],
  ['a sandboxed page', { origin: 'null' }, 403],
  ['no token', { authorization: '' }, 401],
  ['a wrong token', { authorization: 'Bearer secreu' }, 401],
])('%s is turned away', async (_, headers, status) => {
  const world = await start({ token: 'secret' })
  const answer = await world.post(LIST, { authorization: 'Bearer secret', ...headers })
  expect(answer.status).toBe(status)
  expect(JSON.parse(answer.body)).toMatchObject({ jsonrpc: '2.0', id: null, error: { code: -32603 } })
  expect(world.seen).toEqual([])
})

test('of a request only what MCP defines goes on, with our credentials', async () => {
  const world = await start({ token: 'secret' })
  const sent = { authorization: 'Bearer secret', cookie: 'a=b', 'x-forwarded-for': '10.0.0.1', 'mcp-session-id': 's', accept: 'x/y' }
  expect(await world.post(LIST, sent)).toMatchObject({ status: 200, body: DONE, headers: { 'mcp-session-id': 's1' } })
  const { headers } = world.seen[0] ?? { headers: {} }
  expect(headers).toMatchObject({ authorization: 'Bearer a1', 'mcp-session-id': 's', accept: 'x/y' })
  expect(headers).not.toHaveProperty('cookie')
  expect(headers).not.toHaveProperty('x-forwarded-for')
})

test('missing credentials are 403 with a word for the person, never 401', async () => {
  const world = await start({}, () => Promise.reject(new AppError('unauthenticated', 'run tsh login --proxy=p:443')))
  const { status, body } = await world.post(LIST)
  expect([status, JSON.parse(body).error.message]).toEqual([403, expect.stringContaining('[MCP_TELEPORT_LOGIN_REQUIRED] run tsh login')])
  const refused = await start({}, undefined, 401)
  expect(await refused.post(LIST)).toMatchObject({ status: 403 })
})

test('a socket has no name to rebind, and an address that is taken is told', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'forwarder-')), 's')
  const world = await start({ listen: { path } })
  expect(await world.post(LIST, { host: 'anything' })).toMatchObject({ status: 200, body: DONE })
  await expect(start({ listen: { path } })).rejects.toMatchObject({ code: 'failed_precondition', message: expect.stringContaining(path) })
})

async function start(more: Partial<McpForwarderOptions>, open?: () => Promise<never>, status = 200) {
  const seen: { headers: Record<string, unknown> }[] = []
  const server = createServer((request, response) => {
    seen.push({ headers: request.headers })
    request.resume()
    response.writeHead(status, { 'content-type': 'application/json', 'mcp-session-id': 's1', 'set-cookie': 'x=y' }).end(DONE)
  })
  await new Promise<void>((fulfil) => server.listen(0, '127.0.0.1', fulfil))
  closers.push(() => server.close())
  const address = server.address()
  const proxy = { host: '127.0.0.1', port: typeof address === 'object' && address ? address.port : 0 }
  const api = createApiClient(async () => ({
    status: 200,
    body: JSON.stringify({ assertion: `a${seen.length + 1}`, expires: '2030-01-01T00:00:00Z' }),
  }))
  const connect = async () => ({ how: 'profile' as const, api, proxy, trust: { authorities: [] }, close: () => {} })
  const endpoint = createMcpEndpoint({ server: 'demo', open: open ?? connect, now: () => 0 })
  const listen = { host: '127.0.0.1', port: 0 }
  const forwarder = await startMcpForwarder({ endpoint, listen, log: () => {}, ...more })
  closers.push(() => forwarder.close())
  const where = more.listen && 'path' in more.listen ? { socketPath: more.listen.path } : { host: '127.0.0.1', port: forwarder.port }
  const post = (body: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: string; headers: Record<string, unknown> }>((fulfil, reject) => {
      const request = send({ ...where, method: 'POST', path: '/mcp', headers: { 'content-type': 'application/json', ...headers } })
      request.on('error', reject).on('response', (answer) => {
        let text = ''
        answer.on('data', (chunk) => (text += String(chunk)))
        answer.on('end', () => fulfil({ status: answer.statusCode ?? 0, body: text, headers: answer.headers }))
      })
      request.end(body)
    })
  return { seen, post }
}
