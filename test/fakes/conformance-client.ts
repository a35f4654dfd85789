import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as LegacyClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as LegacyTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import { startCluster } from '../cluster.ts'

// `node test/fakes/conformance-client.ts direct|gateway URL`: the client that the conformance suite starts against a server of its own, alone or with a
// gateway in between. What it does is told by the environment: the scenario, and the revision whose wire it has to speak.

/** What a scenario has a client do; both SDKs can. */
interface Driver {
  listTools(): Promise<{ tools: { name: string; inputSchema: unknown }[] }>
  callTool(call: { name: string; arguments: Record<string, unknown> }): Promise<unknown>
  listResources(): Promise<{ resources: { uri: string }[] }>
  readResource(params: { uri: string }): Promise<unknown>
  listPrompts(): Promise<{ prompts: { name: string }[] }>
  getPrompt(params: { name: string }): Promise<unknown>
  close(): Promise<void>
}

const contextSchema = z.object({
  toolCalls: z.array(z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) })).default([]),
})

const SCENARIOS: Readonly<Record<string, (client: Driver) => Promise<unknown>>> = {
  tools_call: async (client) => {
    await client.listTools()
    await client.callTool({ name: 'add_numbers', arguments: { a: 5, b: 3 } })
  },
  'elicitation-sep1034-client-defaults': (client) => client.callTool({ name: 'test_client_elicitation_defaults', arguments: {} }),
  'sse-retry': (client) => client.callTool({ name: 'test_reconnection', arguments: {} }),
  'sep-2322-client-request-state': async (client) => {
    await client.listTools()
    const call = (name: string): Promise<unknown> => client.callTool({ name: `test_mrtr_${name}`, arguments: {} })
    await Promise.all([call('echo_state'), call('unrelated')])
    await call('no_state')
    await call('unrelated')
    // The SDK does not take a result without a kind; what counts is that it does not ask again.
    await call('no_result_type').catch(() => undefined)
  },
  'http-standard-headers': async (client) => {
    for (const { name } of (await client.listTools()).tools) await client.callTool({ name, arguments: {} })
    for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri })
    for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name })
  },
  'http-custom-headers': async (client) => {
    await client.listTools()
    const { toolCalls } = contextSchema.parse(JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}'))
    for (const call of toolCalls) await client.callTool(call)
  },
  'http-invalid-tool-headers': async (client) => {
    for (const { name } of (await client.listTools()).tools) await client.callTool({ name, arguments: { region: 'here' } })
  },
  'json-schema-2020-12-preservation': async (client) => {
    const { tools } = await client.listTools()
    const [focal, echo] = tools
    if (focal && echo) await client.callTool({ name: echo.name, arguments: { schema: focal.inputSchema } })
  },
}

async function drive(url: URL, headers: Record<string, string>): Promise<void> {
  const modern = process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] === '2026-07-28'
  const client = await (modern ? connectModern(url, headers) : connectLegacy(url, headers))
  try {
    await (SCENARIOS[process.env['MCP_CONFORMANCE_SCENARIO'] ?? ''] ?? ((one: Driver) => one.listTools()))(client)
  } finally {
    await client.close()
  }
}

async function connectModern(url: URL, headers: Record<string, string>): Promise<Driver> {
  const client = new Client(
    { name: 'conformance-client', version: '1' },
    { capabilities: { elicitation: { form: {} }, roots: {}, sampling: {} }, versionNegotiation: { mode: 'auto' } },
  )
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { confirmed: true } }))
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }))
  return client
}

async function connectLegacy(url: URL, headers: Record<string, string>): Promise<Driver> {
  const client = new LegacyClient(
    { name: 'conformance-client', version: '1' },
    { capabilities: { elicitation: { form: { applyDefaults: true } } } },
  )
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: {} }))
  await client.connect(new LegacyTransport(url, { requestInit: { headers } }))
  return {
    listTools: () => client.listTools(),
    callTool: (call) => client.callTool(call),
    listResources: () => client.listResources(),
    readResource: (params) => client.readResource(params),
    listPrompts: () => client.listPrompts(),
    getPrompt: (params) => client.getPrompt(params),
    close: () => client.close(),
  }
}

async function driveThroughGateway(url: URL): Promise<void> {
  const cluster = await startCluster()
  try {
    await cluster.saveHttpApp('suite', url.href)
    await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['all'])
    await drive(cluster.mcpUrl('suite'), { authorization: `Bearer ${await cluster.tokenOf('alice')}` })
  } finally {
    await cluster.close()
  }
}

const [way, target = ''] = process.argv.slice(2)
await (way === 'gateway' ? driveThroughGateway(new URL(target)) : drive(new URL(target), {}))
