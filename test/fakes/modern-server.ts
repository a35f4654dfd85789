/**
 * An MCP server of the SDK's second generation, which speaks both eras: over HTTP by `startModernHttp()`, over stdio by
 * `node test/fakes/modern-server.ts`.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { acceptedContent, createMcpHandler, inputRequired, McpServer } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { z } from 'zod'

const COLOUR = { type: 'object' as const, properties: { colour: { type: 'string' as const } }, required: ['colour'] }

function createModernServer(onCancelled: () => void): McpServer {
  const server = new McpServer(
    { name: 'modern', version: '1.0.0' },
    { capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } } },
  )
  server.registerTool('add', { description: 'Adds', inputSchema: z.object({ a: z.number(), b: z.number() }) }, async ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }))
  server.registerTool(
    'paint',
    { description: 'Asks for a colour first', inputSchema: z.object({ what: z.string() }) },
    async ({ what }, context) => {
      const answer = acceptedContent(context.mcpReq.inputResponses, 'colour')
      if (!answer)
        return inputRequired({
          inputRequests: { colour: inputRequired.elicit({ message: 'Which colour?', requestedSchema: COLOUR }) },
          requestState: `painting ${what}`,
        })
      return { content: [{ type: 'text', text: `${String(context.mcpReq.requestState())} ${String(answer['colour'])}` }] }
    },
  )
  server.registerTool('wait', { description: 'Reports progress and never ends', inputSchema: z.object({}) }, async (_args, context) => {
    await context.mcpReq.notify({
      method: 'notifications/progress',
      params: { progressToken: context.mcpReq._meta?.progressToken ?? 0, progress: 1 },
    })
    await new Promise<void>((resolve) => context.mcpReq.signal.addEventListener('abort', () => resolve(), { once: true }))
    onCancelled()
    return { content: [] }
  })
  server.registerResource('note', 'note://one', { mimeType: 'text/plain' }, async (uri) => ({
    contents: [{ uri: uri.href, text: 'a note' }],
  }))
  server.registerPrompt('greet', { argsSchema: z.object({ name: z.string() }) }, ({ name }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Hello ${name}` } }],
  }))
  server.registerTool('announce', { description: 'Says that the tools changed', inputSchema: z.object({}) }, async () => {
    server.sendToolListChanged()
    return { content: [{ type: 'text', text: 'announced' }] }
  })
  return server
}

export interface ModernHttp {
  url: string
  /** How many calls of `wait` were cancelled. */
  cancelled(): number
  /** Tells every subscription that the list of tools changed. */
  toolsChanged(): void
  close(): Promise<void>
}

export async function startModernHttp(): Promise<ModernHttp> {
  let cancelled = 0
  const handler = createMcpHandler(() => createModernServer(() => (cancelled += 1)))
  const listener = toNodeHandler(handler)
  const server = createServer((request, response) => void listener(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    cancelled: () => cancelled,
    toolsChanged: () => handler.notify.toolsChanged(),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

if (import.meta.main) serveStdio(() => createModernServer(() => process.stderr.write('cancelled\n')))
