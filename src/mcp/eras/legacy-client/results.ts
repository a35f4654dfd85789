import { renderExact } from '../../../lib/json-scan.ts'
import type { Fields } from '../../message.ts'
import { META } from '../bridge.ts'
import { numberOf, objectOf, type RpcError, withMeta, without } from '../compose.ts'
import { lowerContent } from '../dated.ts'

/** The answer to a request of a legacy client: a result, or a JSON-RPC error. */
export type Answer = { result: Fields } | { error: RpcError }

const INVALID_PARAMS = -32602
const INTERNAL = -32603
/** Resource not found, up to 2025-11-25. */
const NOT_FOUND = -32002
const HEADER_MISMATCH = -32020
const MISSING_CAPABILITY = -32021
const UNSUPPORTED_VERSION = -32022

/** What a client is told that its request cannot be served; a tool says so in its result, where a model reads it. */
export function failing(method: string, words: string, code = INVALID_PARAMS): Answer {
  if (method === 'tools/call') return { result: { content: [{ type: 'text', text: words }], isError: true } }
  return { error: { code, message: words } }
}

/** A result of a modern server as a client of a legacy revision reads it. Of an empty result nothing is left: SDK v1 wants it that way. */
export function toLegacyResult(method: string, modern: Fields, revision: string, offersTasks = false): Answer {
  const type = modern['resultType'] ?? 'complete'
  if (type !== 'complete') {
    const shown = renderExact(type).slice(0, 100)
    return failing(
      method,
      `the MCP server answered with a result of type ${shown}, which clients of revision ${revision} cannot read`,
      INTERNAL,
    )
  }
  const result = withMeta(without(modern, 'resultType', 'ttlMs', 'cacheScope'), { [META.server]: undefined })
  if (method === 'tools/list') return { result: { ...result, tools: toLegacyTools(result['tools'], offersTasks) } }
  if (method === 'tools/call') return { result: lowerContent(method, toLegacyToolResult(result), revision) }
  return { result: lowerContent(method, result, revision) }
}

/** An error of a modern server; codes that only the modern revision has become words. */
export function toLegacyError(method: string, error: Fields): Answer {
  const code = numberOf(error['code'])
  const details = objectOf(error['data'])
  if (code === MISSING_CAPABILITY) {
    const names = Object.keys(objectOf(details?.['requiredCapabilities']) ?? {}).slice(0, 10)
    return failing(method, `the MCP server needs a client that offers ${names.join(', ') || 'more'}, and this one does not`)
  }
  if (code === HEADER_MISMATCH || code === UNSUPPORTED_VERSION)
    return failing(method, 'the MCP server and the gateway do not agree on the protocol: initialize again', INTERNAL)
  const message = typeof error['message'] === 'string' ? error['message'] : 'the MCP server gave no reason'
  const data = error['data'] === undefined ? {} : { data: error['data'] }
  if (method === 'resources/read' && code === INVALID_PARAMS && isNotFound(message, details))
    return { error: { code: NOT_FOUND, message, ...data } }
  return { error: { code: code ?? INTERNAL, message, ...data } }
}

/** The modern revision has one code for a resource that is not there and for parameters that are wrong; only the first names the URI. */
function isNotFound(message: string, details: Fields | undefined): boolean {
  return typeof details?.['uri'] === 'string' || /\bnot found\b|\bunknown resource\b/i.test(message)
}

/** Legacy clients know only schemas of objects, and refuse the whole list otherwise. */
function toLegacyTools(tools: unknown, offersTasks: boolean): unknown {
  if (!Array.isArray(tools)) return tools
  return tools.map((tool: unknown) => {
    const fields = objectOf(tool)
    if (!fields) return tool
    const schema = fields['outputSchema']
    const kept = schema !== undefined && objectOf(schema)?.['type'] !== 'object' ? without(fields, 'outputSchema') : fields
    return offersTasks ? { ...kept, execution: { ...objectOf(kept['execution']), taskSupport: 'optional' } } : kept
  })
}

/** Structured content that is no object goes; as text it stays, made here when the server did not. */
function toLegacyToolResult(result: Fields): Fields {
  const { structuredContent: structured, content } = result
  const isObject = objectOf(structured) !== undefined
  if (structured === undefined || isObject)
    return content === undefined ? { ...result, content: isObject ? [textOf(structured)] : [] } : result
  const hasContent = Array.isArray(content) && content.length > 0
  return { ...without(result, 'structuredContent'), content: hasContent ? content : [textOf(structured)] }
}

function textOf(value: unknown): Fields {
  return { type: 'text', text: renderExact(value) }
}
