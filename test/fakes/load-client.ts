// A program: light load on one MCP server, from clients that do as the specification says when their session is gone. Its arguments are the URL,
// a token and the number of clients; it writes a line of JSON for every call, until SIGTERM.

const [url = '', token = '', count = '4'] = process.argv.slice(2)
const PAUSE_MS = 40
const PATIENCE_MS = 30_000

let isStopping = false
process.on('SIGTERM', () => (isStopping = true))

async function post(body: unknown, session?: string): Promise<Response> {
  return await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(session !== undefined && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
}

async function open(): Promise<string> {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'load', version: '1' } }
  const opened = await post({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
  await opened.text()
  const session = opened.headers.get('mcp-session-id')
  if (session === null) throw new Error(`initialize: HTTP ${opened.status}`)
  await (await post({ jsonrpc: '2.0', method: 'notifications/initialized' }, session)).text()
  return session
}

async function run(client: number): Promise<void> {
  let session: string | undefined
  for (let call = 1; !isStopping; call++) {
    const text = `call-${client}-${call}`
    const startedAt = Date.now()
    try {
      session ??= await open()
      const answer = await post({ jsonrpc: '2.0', id: call, method: 'tools/call', params: { name: 'echo', arguments: { text } } }, session)
      const body = await answer.text()
      const isOk = answer.status === 200 && body.includes(text) && body.includes('"result"')
      if (answer.status === 404) session = undefined
      tell({
        text,
        at: startedAt,
        ms: Date.now() - startedAt,
        ok: isOk,
        ...(!isOk && { why: `HTTP ${answer.status} ${body.slice(0, 300)}` }),
      })
    } catch (thrown) {
      tell({
        text,
        at: startedAt,
        ms: Date.now() - startedAt,
        ok: false,
        why: String(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown),
      })
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

function tell(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

await Promise.all(Array.from({ length: Number(count) }, (_, client) => run(client)))
process.exit(0)
