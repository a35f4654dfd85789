/**
 * An MCP server that refuses every legacy revision and uses all that the modern one has: over HTTP by `startModernOnly()`, over stdio by
 * `node test/fakes/modern-only.ts`.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  completable,
  createMcpHandler,
  type InputRequiredSpec,
  inputRequired,
  McpServer,
  ResourceTemplate,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { z } from 'zod'

const NAME = { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] }
const text = (said: string) => ({ content: [{ type: 'text' as const, text: said }] })

interface Hooks {
  toolsChanged(server: McpServer): void
  noteChanged(server: McpServer): void
  cancelled(): void
}

function createModernOnly(hooks: Hooks): McpServer {
  const server = new McpServer(
    { name: 'modern-only', version: '1.0.0' },
    {
      instructions: 'Only 2026-07-28 here.',
      capabilities: {
        logging: {},
        completions: {},
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        prompts: {},
      },
    },
  )
  registerTools(server, hooks)
  registerQuestions(server)
  server.registerResource('note', 'note://one', { mimeType: 'text/plain' }, async (uri) => ({
    contents: [{ uri: uri.href, text: 'a note' }],
  }))
  server.registerResource('numbered', new ResourceTemplate('note://number/{n}', { list: undefined }), {}, async (uri, { n }) => ({
    contents: [{ uri: uri.href, text: `note ${String(n)}` }],
  }))
  server.registerPrompt('greet', { argsSchema: z.object({ name: completable(z.string(), () => ['Ada', 'Grace']) }) }, ({ name }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Hello ${name}` } }],
  }))
  return server
}

function registerTools(server: McpServer, hooks: Hooks): void {
  const empty = z.object({})
  const sum = { inputSchema: z.object({ a: z.number(), b: z.number() }), outputSchema: z.object({ sum: z.number() }) }
  server.registerTool('add', sum, async ({ a, b }) => ({ ...text(String(a + b)), structuredContent: { sum: a + b } }))
  server.registerTool('names', { inputSchema: empty, outputSchema: z.array(z.string()) }, async () => ({
    ...text('["Ada"]'),
    structuredContent: ['Ada'],
  }))
  server.registerTool('route', { inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }) }, async ({ region }) =>
    text(`to ${region}`),
  )
  server.registerTool('work', { inputSchema: z.object({ steps: z.number() }) }, async ({ steps }, context) => {
    for (let progress = 1; progress <= steps; progress++) await report(context, progress, steps)
    await context.mcpReq.log('info', 'worked')
    return text('done')
  })
  server.registerTool('wait', { inputSchema: empty }, async (_, context) => {
    await report(context, 1, 2)
    await new Promise<void>((resolve) => context.mcpReq.signal.addEventListener('abort', () => resolve(), { once: true }))
    hooks.cancelled()
    return text('never')
  })
  server.registerTool('change', { inputSchema: empty }, async () => {
    hooks.toolsChanged(server)
    hooks.noteChanged(server)
    return text('changed')
  })
}

async function report(context: ServerContext, progress: number, total: number): Promise<void> {
  const progressToken = context.mcpReq._meta?.progressToken
  if (progressToken !== undefined)
    await context.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total } })
}

function registerQuestions(server: McpServer): void {
  const sample = inputRequired.createMessage({
    messages: [{ role: 'user', content: { type: 'text', text: 'Say something' } }],
    maxTokens: 10,
  })
  const elicit = inputRequired.elicit({ message: 'Who are you?', requestedSchema: NAME })
  const url = inputRequired.elicitUrl({ message: 'Sign in', url: 'https://example.com/sign-in' })
  const rounds: Record<string, InputRequiredSpec[]> = {
    'ask-model': [{ inputRequests: { said: sample } }],
    'ask-form': [{ inputRequests: { who: elicit } }],
    'ask-url': [{ inputRequests: { signed: url } }],
    'ask-roots': [{ inputRequests: { roots: inputRequired.listRoots() } }],
    'ask-all': [{ inputRequests: { who: elicit, said: sample } }, { inputRequests: { roots: inputRequired.listRoots() } }, {}],
  }
  for (const [name, specs] of Object.entries(rounds)) {
    server.registerTool(name, { inputSchema: z.object({}) }, async (_, { mcpReq }) => {
      const state: unknown = mcpReq.requestState()
      const round = typeof state === 'string' ? Number(state.split(' ')[0]) : 0
      const seen = `${typeof state === 'string' ? state.slice(state.indexOf(' ') + 1) : ''}${JSON.stringify(mcpReq.inputResponses ?? {})}`
      const next = specs[round]
      return next ? inputRequired({ ...next, requestState: `${round + 1} ${seen}` }) : text(seen)
    })
  }
}

export interface ModernOnly {
  url: string
  /** How many calls of `wait` were cancelled. */
  cancelled(): number
  close(): Promise<void>
}

export async function startModernOnly(): Promise<ModernOnly> {
  let cancelled = 0
  const hooks: Hooks = {
    toolsChanged: () => handler.notify.toolsChanged(),
    noteChanged: () => handler.notify.resourceUpdated('note://one'),
    cancelled: () => (cancelled += 1),
  }
  const handler = createMcpHandler(() => createModernOnly(hooks), { legacy: 'reject' })
  const listener = toNodeHandler(handler)
  const server = createServer((request, response) => void listener(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    cancelled: () => cancelled,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

if (import.meta.main) {
  const hooks: Hooks = {
    toolsChanged: (server) => server.sendToolListChanged(),
    noteChanged: (server) => void server.server.sendResourceUpdated({ uri: 'note://one' }),
    cancelled: () => process.stderr.write('cancelled\n'),
  }
  serveStdio(() => createModernOnly(hooks), { legacy: 'reject' })
}
