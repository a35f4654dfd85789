export interface RawAnswer {
  status: number
  headers: Headers
  /** The last message of the answer, be it JSON or a stream of events; undefined when there is none. */
  message: Record<string, unknown> | undefined
  /** All messages. */
  messages: Record<string, unknown>[]
}

/** A legacy session of a client that is no SDK: what is sent is what stands here. */
export interface RawSession {
  id: string
  /** What the server chose. */
  revision: unknown
  post(message: unknown, signal?: AbortSignal): Promise<RawAnswer>
  call(tool: string, args: Record<string, unknown>): Promise<RawAnswer>
  /** Ends the session as the specification wants it. */
  delete(): Promise<number>
  /** Breaks off a call under way and is never seen again. */
  abandon(): Promise<void>
}

/**
 * @param send in place of `fetch`.
 * @throws Error when the server does not take it.
 */
export async function openRawSession(url: URL, token: string, protocolVersion = '2025-11-25', send = fetch): Promise<RawSession> {
  const session: { id?: string } = {}
  let nextId = 1
  const headers = (): Record<string, string> => ({
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(session.id !== undefined && { 'mcp-session-id': session.id, 'mcp-protocol-version': protocolVersion }),
  })
  const post = async (message: unknown, signal?: AbortSignal): Promise<RawAnswer> => {
    const response = await send(url, { method: 'POST', headers: headers(), body: JSON.stringify(message), signal: signal ?? null })
    const messages = parseMessages(await response.text())
    return { status: response.status, headers: response.headers, message: messages.at(-1), messages }
  }
  const call = (name: string, args: Record<string, unknown>, signal?: AbortSignal): Promise<RawAnswer> =>
    post({ jsonrpc: '2.0', id: nextId++, method: 'tools/call', params: { name, arguments: args } }, signal)

  const params = { protocolVersion, capabilities: {}, clientInfo: { name: 'raw', version: '1' } }
  const opened = await post({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
  const id = opened.headers.get('mcp-session-id')
  if (opened.status !== 200 || !id) throw new Error(`no session: ${opened.status} ${JSON.stringify(opened.message)}`)
  session.id = id
  await post({ jsonrpc: '2.0', method: 'notifications/initialized' })
  const result = opened.message?.['result']
  return {
    id,
    revision: typeof result === 'object' && result !== null ? Reflect.get(result, 'protocolVersion') : undefined,
    post,
    call,
    delete: async () => (await send(url, { method: 'DELETE', headers: headers() })).status,
    async abandon() {
      const away = new AbortController()
      const underWay = call('slow', { ms: 100 }, away.signal).catch(() => undefined)
      await call('echo', { text: 'still here' })
      away.abort()
      await underWay
    },
  }
}

function parseMessages(text: string): Record<string, unknown>[] {
  if (text.trim() === '') return []
  const texts = /^\s*[{[]/.test(text)
    ? [text]
    : text
        .split('\n')
        .filter((line) => line.startsWith('data:') && line.length > 6)
        .map((line) => line.slice('data:'.length))
  return texts.flatMap((each) => {
    const value: unknown = JSON.parse(each)
    const values: unknown[] = Array.isArray(value) ? value : [value]
    return values.filter((item): item is Record<string, unknown> => typeof item === 'object' && item !== null)
  })
}
