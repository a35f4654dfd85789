import { userInfo } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { upsertResource } from '../../src/api/resources.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ROOT } from '../programs.ts'
import { sees, startRemoteAgent } from '../remote-agent.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'

// What servers without headers are told of who calls: by their environment, and by `_meta` of each request.

let cluster: Cluster
let tokens: Record<string, string>

beforeAll(async () => {
  cluster = await startCluster({
    file: { auth_service: { cluster_name: 'test' }, app_service: { resources: [{ labels: { env: 'dev' } }] } },
  })
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  for (const [name, traits] of [
    ['ana', { email: ['ana@example.com'], groups: ['blue', 'green'] }],
    ['bob', { groups: ['a,b', 'c'] }],
  ] as const) {
    await cluster.saveUser(name, ['all'])
    const user = cluster.running.auth.feed.find('user', name)
    if (!user) throw new Error(`no user ${name}`)
    await cluster.admin(upsertResource, { kind: 'user', name, resource: { ...user, spec: { ...user.spec, traits } } })
  }
  tokens = { ana: await cluster.tokenOf('ana'), bob: await cluster.tokenOf('bob') }
}, 60_000)
afterAll(() => cluster.close())

async function saveApp(name: string, rewrite: unknown, mcp: Record<string, unknown> = {}, env = 'dev'): Promise<void> {
  const run = { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username, ...mcp }
  await cluster.save({ kind: 'app', version: 'v3', metadata: { name, labels: { env } }, spec: { mcp: run, rewrite } })
  await cluster.running.agent?.announced()
}

const answerSchema = z.object({ result: z.object({ content: z.tuple([z.object({ text: z.string() })]) }) })

async function open(server: string, user: string) {
  const url = cluster.mcpUrl(server)
  const token = tokens[user] ?? ''
  const session = await openSession(url, token)
  return async (tool: string, params = ''): Promise<string> => {
    const body = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"${tool}","arguments":{}${params}}}`
    const { text } = await postMessage(url, token, session, body)
    const data = text.startsWith('{') ? text : (/^data: (.*)$/m.exec(text)?.[1] ?? '')
    return answerSchema.parse(JSON.parse(data)).result.content[0].text
  }
}

const envSchema = z.object({ env: z.record(z.string(), z.string()) })

test('a program that runs for one caller finds in its environment who that is', async () => {
  await saveApp('env', {
    env: [
      { name: 'CALLER', value: '{{internal.username}}' },
      { name: 'CALLER_MAIL', value: 'mailto:{{external.email}}' },
      { name: 'CALLER_GROUPS', value: '{{external.groups}}' },
      { name: 'CALLER_TEAM', value: '{{external.team}}' },
      { name: 'CALLER_JWT', value: '{{internal.jwt}}' },
    ],
  })
  const { env } = envSchema.parse(JSON.parse(await (await open('env', 'ana'))('whoami')))
  expect(env).toMatchObject({ CALLER: 'ana', CALLER_MAIL: 'mailto:ana@example.com', CALLER_GROUPS: 'blue,green' })
  expect(env['CALLER_TEAM']).toBeUndefined()
  const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', cluster.url))
  const { payload } = await jwtVerify(env['CALLER_JWT'] ?? '', keys, { issuer: 'test', audience: 'mcp+stdio://env' })
  expect(payload).toMatchObject({ sub: 'ana', roles: ['all'], traits: { groups: ['blue', 'green'] } })
  // Where a list could be read as another one, the program does not run.
  await expect(open('env', 'bob')).rejects.toThrow('a trait of \\"bob\\" cannot stand in the variable CALLER_GROUPS')
})

const META = [
  { name: 'user', value: '{{internal.username}}' },
  { name: 'groups', value: '{{external.groups}}' },
  { name: 'email', value: '{{external.email}}' },
  { name: 'jwt', value: '{{internal.jwt}}' },
]

/** What the program was sent in its last tools/call but one. */
function lastMeta(received: string): Record<string, unknown> {
  const lines = z.array(z.string()).parse(JSON.parse(received))
  const calls = lines.map((line) =>
    z
      .looseObject({
        method: z.string().optional(),
        params: z.looseObject({ _meta: z.record(z.string(), z.unknown()).optional() }).optional(),
      })
      .parse(JSON.parse(line)),
  )
  return calls.findLast(({ method }) => method === 'tools/call')?.params?._meta ?? {}
}

test('every request says in its _meta who makes it, whatever the client says there', async () => {
  await saveApp('meta', { meta: META })
  const [ana, bob] = [await open('meta', 'ana'), await open('meta', 'bob')]
  const forged =
    ',"_meta":{"progressToken":"p","sallyport.dev/user":"root","Sallyport.dev/jwt":"x","SALLYPORT.DEV/groups":["admins"],"sallyport.dev/other":1}'
  const sent = lastMeta(await ana('received', forged))
  expect(Object.keys(sent).toSorted()).toEqual([
    'progressToken',
    'sallyport.dev/email',
    'sallyport.dev/groups',
    'sallyport.dev/jwt',
    'sallyport.dev/user',
  ])
  expect(sent).toMatchObject({
    progressToken: 'p',
    'sallyport.dev/user': 'ana',
    'sallyport.dev/groups': ['blue', 'green'],
    'sallyport.dev/email': ['ana@example.com'],
  })
  expect(decodeJwt(String(sent['sallyport.dev/jwt']))).toMatchObject({ sub: 'ana', aud: 'mcp+stdio://meta', iss: 'test' })
  const other = lastMeta(await bob('received'))
  expect(other).toMatchObject({ 'sallyport.dev/user': 'bob', 'sallyport.dev/groups': ['a,b', 'c'] })
  expect(other).not.toHaveProperty(['sallyport.dev/email'])
})

test('callers of one process are told apart by each request', async () => {
  const run = {
    args: [join(ROOT, 'examples/who-calls/stdio-server.mjs')],
    env: { SALLYPORT_URL: cluster.url, CLUSTER: 'test', NAME: 'one' },
  }
  await saveApp('one', { meta: META }, { ...run, lifecycle: 'shared' })
  const ask = async (user: string): Promise<string> => {
    const client = new Client({ name: 'one', version: '1' }, { versionNegotiation: { mode: 'auto' } })
    const headers = { authorization: `Bearer ${tokens[user]}` }
    await client.connect(new StreamableHTTPClientTransport(cluster.mcpUrl('one'), { requestInit: { headers } }))
    const forged = { 'sallyport.dev/jwt': 'x', 'sallyport.dev/user': 'root' }
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.callTool({ name: 'whoami', arguments: {}, _meta: forged })))
    await client.close()
    return [...new Set(answers.map(({ content }) => JSON.stringify(content)))].join()
  }
  const [ana, bob] = await Promise.all([ask('ana'), ask('bob')])
  expect(ana).toBe('[{"type":"text","text":"ana with all; groups: blue, green"}]')
  expect(bob).toBe('[{"type":"text","text":"bob with all; groups: a,b, c"}]')
})

test('so it is at the one URL, with an agent on another host', async () => {
  const agent = await startRemoteAgent(cluster, { app: { enabled: 'yes', resources: [{ labels: { env: 'far' } }] } })
  try {
    await saveApp('far', { meta: META }, {}, 'far')
    await sees(cluster, tokens['ana'] ?? '', 'env', 'far', 'meta', 'one')
    const client = new Client({ name: 'far', version: '1' })
    const headers = { authorization: `Bearer ${tokens['ana']}` }
    await client.connect(new StreamableHTTPClientTransport(new URL('/mcp', cluster.url), { requestInit: { headers } }))
    // A name is given when it is listed first.
    await client.listTools()
    const forged = { 'sallyport.dev/user': 'root', 'SALLYPORT.dev/jwt': 'x' }
    const { content } = await client.callTool({ name: 'far_received', arguments: {}, _meta: forged })
    await client.close()
    const sent = lastMeta(z.array(z.object({ text: z.string() })).parse(content)[0]?.text ?? '')
    expect(sent).toMatchObject({ 'sallyport.dev/user': 'ana' })
    expect(Object.keys(sent).filter((key) => key.startsWith('SALLYPORT'))).toEqual([])
    expect(decodeJwt(String(sent['sallyport.dev/jwt']))).toMatchObject({ sub: 'ana', aud: 'mcp+stdio://far' })
  } finally {
    await agent.close()
  }
})

test('a server that asks for nothing is told nothing, and forged words do not reach it either', async () => {
  await saveApp('plain', undefined)
  const ana = await open('plain', 'ana')
  expect(lastMeta(await ana('received', ',"_meta":{"sallyport.dev/user":"root","a/b":1}'))).toEqual({ 'a/b': 1 })
})

test.each([
  [{ env: [{ name: 'LD_PRELOAD', value: 'x' }] }, {}, 'may not be set'],
  [
    {
      env: [
        { name: 'A', value: 'x' },
        { name: 'A', value: 'y' },
      ],
    },
    {},
    'names "A" twice',
  ],
  [{ env: [{ name: 'A', value: '{{secret.token}}' }] }, {}, 'must not name a secret'],
  [{ env: [{ name: 'A', value: 'x' }] }, { lifecycle: 'shared' }, 'needs a process for each session'],
  [{ env: [{ name: 'A', value: 'x' }] }, { warm: 1 }, 'needs a process for each session'],
  [{ meta: [{ name: 'a/b', value: 'x' }] }, {}, 'must be letters'],
])('what cannot work is not saved: %o %o', async (rewrite, mcp, why) => {
  await expect(saveApp('wrong', rewrite, mcp)).rejects.toThrow(why)
})

test('variables are for programs', async () => {
  const spec = { uri: 'mcp+http://127.0.0.1:1/mcp', rewrite: { env: [{ name: 'A', value: 'x' }] } }
  await expect(cluster.save({ kind: 'app', version: 'v3', metadata: { name: 'http' }, spec })).rejects.toThrow('starts by a command')
})
