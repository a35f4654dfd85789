/** What every upstream of the benchmark answers: 174 bytes for a call whose id has seven digits. */
export function answerTo(body: string): string {
  const message: unknown = JSON.parse(body)
  if (typeof message !== 'object' || message === null || !('id' in message)) return ''
  const id = JSON.stringify(message.id)
  const isOpening = 'method' in message && message.method === 'initialize'
  return `{"jsonrpc":"2.0","id":${id},"result":${isOpening ? OPENING : CALLED}}`
}

const TEXT = 'the quick brown fox jumps over the lazy dog, '.repeat(2)
const CALLED = JSON.stringify({ content: [{ type: 'text', text: TEXT.slice(0, 85) }], isError: false })
const OPENING = JSON.stringify({
  protocolVersion: '2025-11-25',
  capabilities: { tools: {} },
  serverInfo: { name: 'echo', version: '1.0.0' },
})
