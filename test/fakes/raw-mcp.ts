import { askHttp, type RawAnswer } from './raw-http.ts'

export function headersOf(bearer: string, more: Record<string, string> = {}): Record<string, string> {
  return { 'content-type': 'application/json', accept: 'application/json, text/event-stream', authorization: `Bearer ${bearer}`, ...more }
}

/** Sends bytes as a message of a session. */
export function postMessage(url: URL, bearer: string, session: string, body: string | Buffer): Promise<RawAnswer> {
  return askHttp(url, { headers: headersOf(bearer, { 'mcp-session-id': session }), body })
}

/** Opens a session of 2025-11-25 and gives its id. */
export async function openSession(url: URL, bearer: string): Promise<string> {
  const params = '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}'
  const body = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":${params}}`
  const { status, headers, text } = await askHttp(url, { headers: headersOf(bearer), body })
  if (status !== 200) throw new Error(`${status}: ${text}`)
  return String(headers['mcp-session-id'])
}
