import { AppError } from '../lib/errors.ts'
import type { McpEndpoint } from './mcp-endpoint.ts'
import { runMcpBridge } from './mcp-bridge.ts'
import type { BridgeOptions } from './mcp-bridge.ts'

/** What a tool answered: a result, or the error the gateway or the server gave instead. */
export type CallAnswer = { result: Record<string, unknown> } | { error: { code: number; message: string; data: unknown } }

export interface CallOptions {
  endpoint: McpEndpoint
  tool: string
  args: Record<string, unknown>
  clientVersion: string
  timeoutMs: number
  /** Ends the call, and the session with it. */
  signal?: AbortSignal
  wait: BridgeOptions['wait']
  log: (line: string) => void
}

const PROTOCOL_VERSION = '2025-11-25'
const REFUSALS: ReadonlySet<string> = new Set(['permission_denied', 'not_found', 'unauthenticated'])

/**
 * One tool call in a session of its own: initialize, call, end. No answer within `timeoutMs`: `deadline_exceeded`. A caller who gets no
 * assertion gets the Auth Service's own refusal: `permission_denied` for a lock, `not_found` for a server they may not see, `unauthenticated`.
 */
export async function callTool({ endpoint, tool, args, clientVersion, timeoutMs, signal, wait, log }: CallOptions): Promise<CallAnswer> {
  const answers = [Promise.withResolvers<CallAnswer>(), Promise.withResolvers<CallAnswer>()] as const
  const finished = new AbortController()
  const ending = signal ? AbortSignal.any([finished.signal, signal]) : finished.signal
  const throwIfCancelled = (): void => {
    if (signal?.aborted) throw new AppError('cancelled', 'the request was cancelled')
  }
  const deadline = wait(timeoutMs, ending).then((): never => {
    throwIfCancelled()
    throw new AppError('deadline_exceeded', `the tool did not answer within ${timeoutMs / 1000} s`)
  })
  deadline.catch(() => {}) // raced below
  async function* input(): AsyncGenerator<Uint8Array> {
    const clientInfo = { name: 'tsh', version: clientVersion }
    yield line({ id: 0, method: 'initialize', params: { protocolVersion: PROTOCOL_VERSION, capabilities: {}, clientInfo } })
    const opened = await Promise.race([answers[0].promise, deadline])
    if ('error' in opened) return answers[1].resolve(opened)
    yield line({ method: 'notifications/initialized' })
    yield line({ id: 1, method: 'tools/call', params: { name: tool, arguments: args } })
    await Promise.race([answers[1].promise, deadline])
  }
  let refusal: AppError | undefined
  const send: McpEndpoint['send'] = (request) =>
    // A session that there is by then is still ended at the server.
    endpoint
      .send(request.method === 'DELETE' ? request : { ...request, signal: AbortSignal.any([request.signal, ending]) })
      .catch((thrown: unknown) => {
        if (thrown instanceof AppError && REFUSALS.has(thrown.code)) refusal = thrown
        throw thrown
      })
  try {
    await runMcpBridge({
      input: input(),
      endpoint: { send, close: endpoint.close },
      autoReconnect: true,
      wait,
      log,
      write: async (bytes) => settle(bytes, answers),
    })
    const answer = await answers[1].promise
    throwIfCancelled()
    if (refusal && 'error' in answer) throw refusal
    return answer
  } finally {
    finished.abort()
  }
}

function line(message: Record<string, unknown>): Buffer {
  return Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
}

function settle(bytes: Uint8Array, answers: readonly PromiseWithResolvers<CallAnswer>[]): void {
  const message: unknown = JSON.parse(Buffer.from(bytes).toString())
  if (typeof message !== 'object' || message === null || !('id' in message) || typeof message.id !== 'number') return
  const waiting = answers[message.id]
  if ('result' in message && typeof message.result === 'object' && message.result !== null)
    waiting?.resolve({ result: { ...message.result } })
  if (!('error' in message) || typeof message.error !== 'object' || message.error === null) return
  const { code, message: text, data }: Record<string, unknown> = { ...message.error }
  const known = { code: typeof code === 'number' ? code : -32603, message: typeof text === 'string' ? text : 'unknown error' }
  waiting?.resolve({ error: { ...known, data } })
}
