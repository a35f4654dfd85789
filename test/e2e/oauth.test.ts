import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { UnauthorizedError as UnauthorizedErrorV1 } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ROOT, temporaryDirectory } from '../programs.ts'
import { eventually } from '../wait.ts'
import { wholeList } from '../whole-list.ts'
import { OAuthSession } from '../fakes/oauth-session.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'

// The SDKs' own OAuth clients against the whole gateway, from the first 401 to tools by role; a browser of plain HTTP is the person.

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveStdioApp('other', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('echoes', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['echo'] } } })
  await cluster.save({ kind: 'mcp_set', version: 'v1', metadata: { name: 'some' }, spec: { servers: { names: ['everything'] } } })
  await cluster.saveUser('ana', ['echoes'])
}, 60_000)
afterAll(() => cluster.close())

const INFO = { name: 'test', version: '1.0.0' }

/** Connects as a client of the SDK does that has nothing but a URL; the names of the tools it gets. */
const visits = {
  async v1(url: URL, session: OAuthSession, browser: PlainBrowser): Promise<string[]> {
    const authProvider = session.provider()
    const first = new StreamableHTTPClientTransportV1(url, { authProvider })
    await expect(new ClientV1(INFO).connect(first)).rejects.toThrow(UnauthorizedErrorV1)
    const back = await browser.allow(session.authorizationUrl ?? '', 'ana')
    await first.finishAuth(back.searchParams.get('code') ?? '')
    const client = new ClientV1(INFO)
    await client.connect(new StreamableHTTPClientTransportV1(url, { authProvider }))
    const { tools } = await wholeList(() => client.listTools())
    await client.close()
    return tools.map(({ name }) => name)
  },
  async v2(url: URL, session: OAuthSession, browser: PlainBrowser): Promise<string[]> {
    const authProvider = session.provider()
    const first = new StreamableHTTPClientTransport(url, { authProvider })
    await expect(new Client(INFO).connect(first)).rejects.toThrow(UnauthorizedError)
    const back = await browser.allow(session.authorizationUrl ?? '', 'ana')
    await first.finishAuth(back.searchParams)
    const client = new Client(INFO)
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider }))
    const { tools } = await wholeList(() => client.listTools())
    await client.close()
    return tools.map(({ name }) => name)
  },
}

describe.each(['v1', 'v2'] as const)('a client of the SDK %s', (version) => {
  it.each([
    ['/mcp/apps/everything', ['echo']],
    ['/mcp/sets/some', ['everything_echo']],
    ['/mcp', ['everything_echo', 'other_echo']],
  ])('gets the tools of the role at %s', async (path, tools) => {
    const session = new OAuthSession()
    expect((await visits[version](new URL(path, cluster.url), session, new PlainBrowser())).toSorted()).toEqual(tools)
    expect(session.kept).toMatchObject({
      token_type: 'Bearer',
      scope: 'mcp',
      refresh_token: expect.any(String),
      expires_in: expect.any(Number),
    })
  })
})

describe('a client whose access token has ended', () => {
  it.each(['v1', 'v2'] as const)('of the SDK %s goes on without a person', async (version) => {
    const session = new OAuthSession()
    const url = new URL('/mcp', cluster.url)
    const browser = new PlainBrowser()
    await visits[version](url, session, browser)
    const seen = browser.visited.length
    const before = session.kept
    if (!session.kept) throw new Error('no tokens')
    session.kept = { ...session.kept, access_token: 'A'.repeat(43) }
    const authProvider = session.provider()
    const client = version === 'v1' ? new ClientV1(INFO) : new Client(INFO)
    const transport =
      version === 'v1'
        ? new StreamableHTTPClientTransportV1(url, { authProvider })
        : new StreamableHTTPClientTransport(url, { authProvider })
    // Each SDK takes its own transport.
    if (client instanceof ClientV1 && transport instanceof StreamableHTTPClientTransportV1) await client.connect(transport)
    if (client instanceof Client && transport instanceof StreamableHTTPClientTransport) await client.connect(transport)
    expect((await wholeList<{ tools: unknown[] }>(() => client.listTools())).tools.length).toBe(2)
    await client.close()
    expect(browser.visited.length).toBe(seen)
    expect(session.kept?.refresh_token).not.toBe(before?.refresh_token)
  })
})

it('mcp-remote brings programs in that know stdio only', async () => {
  const home = await temporaryDirectory()
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [join(ROOT, 'node_modules/mcp-remote/dist/proxy.js'), new URL('/mcp/apps/everything', cluster.url).href],
    env: { PATH: dirname(process.execPath), HOME: home.path, MCP_REMOTE_CONFIG_DIR: home.path },
    stderr: 'pipe',
  })
  let said = ''
  transport.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const client = new Client(INFO)
  const connected = client.connect(transport, { timeout: 50_000 })
  try {
    const url = await eventually(
      () => `the address for the browser in ${said}`,
      () => /^http\S+\/oauth\/authorize\S+$/m.exec(said)?.[0],
    )
    expect((await fetch(await new PlainBrowser().allow(url, 'ana'))).status).toBe(200)
    await connected
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo'])
  } finally {
    await client.close()
    await home.dispose()
  }
}, 60_000)
