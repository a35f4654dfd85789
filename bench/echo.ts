/**
 * What every upstream of the benchmark answers: 174 bytes for a call whose id has seven digits, or as much text as `arguments.bytes` asks for.
 */
export function answerTo(body: string): string {
  const message: unknown = JSON.parse(body)
  if (typeof message !== 'object' || message === null || !('id' in message)) return ''
  const id = JSON.stringify(message.id)
  if ('method' in message && message.method === 'initialize') return `{"jsonrpc":"2.0","id":${id},"result":${OPENING}}`
  if ('method' in message && message.method === 'server/discover') return `{"jsonrpc":"2.0","id":${id},"result":${DISCOVERED}}`
  if ('method' in message && message.method === 'tools/list') return `{"jsonrpc":"2.0","id":${id},"result":${TOOLS}}`
  return `{"jsonrpc":"2.0","id":${id},"result":${resultOf(bytesAsked(message))}}`
}

const TEXT = 'the quick brown fox jumps over the lazy dog, '
const render = (bytes: number): string =>
  JSON.stringify({ content: [{ type: 'text', text: TEXT.repeat(Math.ceil(bytes / TEXT.length)).slice(0, bytes) }], isError: false })
const kept = new Map<number, string>()
const OPENING = JSON.stringify({
  protocolVersion: '2025-11-25',
  capabilities: { tools: {} },
  serverInfo: { name: 'echo', version: '1.0.0' },
})
const DISCOVERED = JSON.stringify({
  supportedVersions: ['2026-07-28'],
  capabilities: { tools: {} },
  serverInfo: { name: 'echo', version: '1.0.0' },
  resultType: 'complete',
})
const TOOLS = JSON.stringify({
  tools: Array.from({ length: 20 }, (_, index) => ({
    name: index === 0 ? 'search_documents' : `search_${index}`,
    description: 'Searches the documents of a team',
    inputSchema: { type: 'object', properties: { query: { type: 'string' }, limit: { type: 'integer' } } },
  })),
})

function resultOf(bytes: number): string {
  const known = kept.get(bytes) ?? render(bytes)
  kept.set(bytes, known)
  return known
}

function bytesAsked(message: object): number {
  if (!('params' in message) || typeof message.params !== 'object' || message.params === null || !('arguments' in message.params)) return 85
  const { arguments: args } = message.params
  return typeof args === 'object' && args !== null && 'bytes' in args && typeof args.bytes === 'number' ? args.bytes : 85
}
