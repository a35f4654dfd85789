import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { askHttp, type RawAnswer } from '../fakes/raw-http.ts'
import { headersOf, openSession } from '../fakes/raw-mcp.ts'
import { json, type ScriptedHttp, startScriptedHttp } from '../fakes/scripted-http.ts'
import { ODD_ARGUMENTS, ODD_IDS, REFUSED } from '../hostile-corpus.ts'

// The corpus of hostile requests, at the endpoint of one server and at that of all: what was judged is what is sent, or nothing is.

let cluster: Cluster
let server: ScriptedHttp
let token: string
let other: string

beforeAll(async () => {
  server = await startScriptedHttp()
  cluster = await startCluster()
  await cluster.saveHttpApp('web', server.url)
  await cluster.saveRole('guest', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
  for (const user of ['ana', 'bob']) await cluster.saveUser(user, ['guest'])
  token = await cluster.tokenOf('ana')
  other = await cluster.tokenOf('bob')
  answerAll()
})

afterAll(async () => {
  await cluster.close()
  await server.close()
})

const RESULT = '{"content":[],"tools":[{"name":"echo","inputSchema":{"type":"object"}},{"name":"rm","inputSchema":{"type":"object"}}]}'

const answerAll = (): void => {
  server.script = (id, _, response) => json(response, `{"jsonrpc":"2.0","id":${id},"result":${RESULT}}`)
}

beforeEach(() => {
  answerAll()
  server.bodies.length = 0
})

const MODERN = '2026-07-28'
const meta = (version = MODERN) =>
  `"_meta":{"io.modelcontextprotocol/protocolVersion":"${version}","io.modelcontextprotocol/clientCapabilities":{}}`

describe.each([
  { path: '/mcp/apps/web', tool: 'echo', forbidden: 'rm' },
  { path: '/mcp', tool: 'web_echo', forbidden: 'web_rm' },
])('at $path', ({ path, tool, forbidden }) => {
  const url = () => new URL(path, cluster.url)
  const named = (body: string | Buffer): string | Buffer =>
    typeof body === 'string'
      ? body.replaceAll('NAME', tool).replaceAll('FORBIDDEN', forbidden)
      : Buffer.from(body.toString('latin1').replaceAll('NAME', tool), 'latin1')
  let session: string
  const post = (body: string | Buffer, headers: Record<string, string> = {}, bearer = token): Promise<RawAnswer> =>
    askHttp(url(), { headers: headersOf(bearer, headers), body })
  const inSession = (body: string | Buffer): Promise<RawAnswer> => post(body, { 'mcp-session-id': session })
  const called = (): string[] => server.bodies.filter((body) => body.includes('"tools/call"'))

  beforeAll(async () => {
    session = await openSession(url(), token)
    // At `/mcp` a tool is known once it was listed.
    const { text } = await inSession('{"jsonrpc":"2.0","id":0,"method":"tools/list"}')
    if (!text.includes(`"${tool}"`)) throw new Error(text)
  })

  test.each(REFUSED)('$what is refused, and the server gets nothing of it', async ({ body }) => {
    const { status, text } = await inSession(named(body))
    expect([status, JSON.parse(text)]).toEqual([
      400,
      expect.objectContaining({ error: expect.objectContaining({ code: expect.any(Number) }) }),
    ])
    expect(server.bodies).toEqual([])
  })

  test.each(ODD_ARGUMENTS)('the arguments %s reach the server to the letter', async (text) => {
    const own = String(named(text))
    const { status } = await inSession(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${tool}","arguments":${own}}}`)
    expect(status).toBe(200)
    expect(called()).toHaveLength(1)
    expect(called()[0]).toContain(`"name":"echo","arguments":${own}`)
  })

  test.each(ODD_IDS)('the id %s comes back as it was, with the answer and with the refusal', async (id) => {
    const ask = async (name: string) =>
      (await inSession(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`)).text
    expect(await ask(tool)).toBe(`{"jsonrpc":"2.0","id":${id},"result":${RESULT}}`)
    expect(await ask(forbidden)).toMatch(/^\{"jsonrpc":"2.0","id":/)
    expect((await ask(forbidden)).startsWith(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32602,`)).toBe(true)
    expect(called()).toHaveLength(1)
  })

  const modern = { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call', 'mcp-name': tool }
  const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`
  test.each<[string, Record<string, string>, string?]>([
    ['another Mcp-Method', { ...modern, 'mcp-method': 'ping' }],
    ['an Mcp-Method in another case', { ...modern, 'mcp-method': 'Tools/Call' }],
    ['two in one Mcp-Method', { ...modern, 'mcp-method': 'tools/call, ping' }],
    ['no Mcp-Method', { 'mcp-protocol-version': MODERN, 'mcp-name': tool }],
    ['another Mcp-Name', { ...modern, 'mcp-name': forbidden }],
    ['another Mcp-Name in Base64', { ...modern, 'mcp-name': base64(forbidden) }],
    ['an Mcp-Name that is no Base64', { ...modern, 'mcp-name': '=?base64?%%%?=' }],
    ['no Mcp-Name', { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call' }],
    ['an older MCP-Protocol-Version', { ...modern, 'mcp-protocol-version': '2025-11-25' }],
    ['an MCP-Protocol-Version that nobody knows', { ...modern, 'mcp-protocol-version': '2099-01-01' }],
    ['a revision in the body that nobody knows', { ...modern, 'mcp-protocol-version': '2099-01-01' }, '2099-01-01'],
    ['an older revision in the body', { ...modern, 'mcp-protocol-version': '2025-06-18' }, '2025-06-18'],
  ])('headers and body that disagree, by %s, are refused, and the server gets nothing', async (_, headers, version = MODERN) => {
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${tool}","arguments":{},${meta(version)}}}`
    const { status, text } = await post(body, headers)
    expect([status, JSON.parse(text).error.code]).toEqual([400, expect.toBeOneOf([-32020, -32022, -32602])])
    expect(called()).toEqual([])
  })

  test('what headers say of a legacy session does not matter, and is not believed', async () => {
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${forbidden}"}}`
    const { text } = await post(body, { 'mcp-session-id': session, 'mcp-method': 'ping', 'mcp-name': tool })
    expect(JSON.parse(text)).toMatchObject({ error: { code: -32602 } })
    expect(called()).toEqual([])
  })

  test('a session, and the cursor of a page, are nobody else’s', async () => {
    const stolen = await post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', { 'mcp-session-id': session }, other)
    expect([stolen.status, JSON.parse(stolen.text).error.code]).toEqual([404, -32001])
    for (const method of ['GET', 'DELETE']) {
      const { status } = await askHttp(url(), { method, headers: headersOf(other, { 'mcp-session-id': session }) })
      expect(status).toBe(404)
    }
    expect((await inSession('{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(200)
  })
})
