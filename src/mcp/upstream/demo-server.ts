import type { CallToolResult, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Sdk } from './in-process.ts'

/** What the demo tells its caller about the connection. */
export interface DemoFacts {
  caller: { name: string; kind: string; roles: readonly string[] }
  clusterName: string
  appName: string
  appDescription: string
}

const GUIDE = [
  'You reached this demo MCP server through Sallyport: it checked who you are, which servers and tools your roles allow, and it wrote down this call.',
  'teleport_user_info shows who you are to the gateway, teleport_session_info which server and cluster this session belongs to.',
  'An administrator puts a real MCP server in its place by registering an app with spec.mcp.command or an mcp+http URI.',
].join('\n')

/** A fresh demo server; the tools and their fields are those of Teleport's demo. */
export function buildDemoServer(sdk: Sdk, facts: DemoFacts): McpServer {
  const server = new sdk.McpServer({ name: 'teleport-demo', version: '1.0.0' })
  const readOnly = { readOnlyHint: true, openWorldHint: false }
  const user = { name: facts.caller.name, user_kind: facts.caller.kind, roles: [...facts.caller.roles] }
  const session = {
    teleport_cluster: facts.clusterName,
    teleport_app_name: facts.appName,
    teleport_app_description: facts.appDescription,
    mcp_transport_type: 'stdio',
  }
  const none = z.object({})

  server.registerTool(
    'teleport_user_info',
    { title: 'Who am I', description: 'Shows the user of this session: name, kind and roles.', inputSchema: none, annotations: readOnly },
    () => asText(JSON.stringify(user)),
  )
  server.registerTool(
    'teleport_session_info',
    {
      title: 'This session',
      description: 'Shows the cluster, the MCP server and the transport of this session.',
      inputSchema: none,
      annotations: readOnly,
    },
    () => asText(JSON.stringify(session)),
  )
  server.registerTool(
    'teleport_demo_info',
    { title: 'About this demo', description: 'Explains what this demo MCP server is for.', inputSchema: none, annotations: readOnly },
    () => asText(GUIDE),
  )
  const resources = [
    { name: 'guide', uri: 'demo://teleport-demo/guide', title: 'About this demo', mimeType: 'text/plain', text: GUIDE },
    { name: 'user', uri: 'demo://teleport-demo/user', title: 'Who am I', mimeType: 'application/json', text: JSON.stringify(user) },
  ]
  for (const { name, uri, text, ...about } of resources)
    server.registerResource(name, uri, about, () => ({ contents: [{ uri, mimeType: about.mimeType, text }] }))
  return server
}

function asText(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] }
}
