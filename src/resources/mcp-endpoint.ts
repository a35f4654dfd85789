import { nameSchema } from './envelope.ts'

/** A URL at which MCP clients are served: one server, a set of servers, or all. */
export type McpEndpoint = { type: 'app'; name: string } | { type: 'set'; name: string } | { type: 'all' }

/** `/sse` is where clients of the transport of 2024-11-05 expect it; it is the same endpoint. */
const PATH = /^\/mcp(?:\/(apps|sets)\/([^/?#]+))?(?:\/sse)?\/?$/

/** The endpoint that a path names, without its query; undefined when it names none. */
export function findMcpEndpoint(path: string): McpEndpoint | undefined {
  const match = PATH.exec(path)
  if (!match) return undefined
  const [, folder, encoded] = match
  if (folder === undefined || encoded === undefined) return { type: 'all' }
  const name = nameSchema.safeParse(decode(encoded))
  if (!name.success) return undefined
  return { type: folder === 'apps' ? 'app' : 'set', name: name.data }
}

/** The one path that stands for an endpoint wherever it is compared or stored. */
export function renderMcpEndpoint(endpoint: McpEndpoint): string {
  if (endpoint.type === 'all') return '/mcp'
  return `/mcp/${endpoint.type === 'app' ? 'apps' : 'sets'}/${encodeURIComponent(endpoint.name)}`
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // a broken escape names nothing
  }
}
