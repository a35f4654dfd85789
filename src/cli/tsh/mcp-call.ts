import { callTool } from '../../client/mcp-call.ts'
import type { CallAnswer } from '../../client/mcp-call.ts'
import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import type { Context } from './context.ts'
import { pause } from '../../lib/pause.ts'

const TIMEOUT_MS = 300_000

/** The tool's own failure gives 1, a refusal by the gateway 5. */
export async function run(context: Context): Promise<number> {
  const { call, io, now } = context
  const endpoint = createMcpEndpoint({ server: call.argument('name') ?? '', open: context.connect, now })
  const answer = await callTool({
    endpoint,
    tool: call.argument('tool') ?? '',
    args: parseArguments(call.argument('json'), call.text('args')),
    clientVersion: io.version ?? 'dev',
    timeoutMs: TIMEOUT_MS,
    signal: call.signal,
    wait: pause,
    log: () => {}, // what matters comes back as the answer
  })
  if ('error' in answer) throw toAppError(answer.error)
  io.stdout.write(renderOutput(formatOf(call), answer.result, renderContent))
  return answer.result['isError'] === true ? 1 : 0
}

function parseArguments(positional: string | undefined, flag: string | undefined): Record<string, unknown> {
  if (positional !== undefined && flag !== undefined)
    throw new AppError('invalid_argument', 'give the arguments once: as JSON behind the tool, or with --args')
  const text = positional ?? flag ?? '{}'
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_argument', `the arguments are not JSON: ${text}`, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new AppError('invalid_argument', 'the arguments must be a JSON object, such as {"message": "hello"}')
  return { ...value }
}

function renderContent(result: Record<string, unknown>): string {
  const content: unknown[] = Array.isArray(result['content']) ? result['content'] : []
  const texts = content.map((item) => {
    if (typeof item !== 'object' || item === null) return ''
    if ('text' in item && typeof item.text === 'string') return item.text
    const type = 'type' in item && typeof item.type === 'string' ? item.type : 'unknown'
    return `[${type}: use --format json to see it]`
  })
  return texts.length === 0 && result['structuredContent'] !== undefined
    ? JSON.stringify(result['structuredContent'], null, 2)
    : texts.join('\n')
}

function toAppError({ code, message, data }: Extract<CallAnswer, { error: unknown }>['error']): AppError {
  const details = { rpc: code, ...(data === undefined ? {} : { data }) }
  if (message.startsWith('[MCP_TELEPORT_LOGIN_REQUIRED]')) return new AppError('unauthenticated', message, { details })
  if (/^\[MCP_(NETWORK_UNAVAILABLE|UPSTREAM_UNREACHABLE)\]/.test(message)) return new AppError('unavailable', message, { details })
  if (message.startsWith('[MCP_CONNECTION_TIMEOUT]')) return new AppError('deadline_exceeded', message, { details })
  return new AppError(isDenial(code, data) ? 'permission_denied' : 'failed_precondition', message, { details })
}

/** JSON-RPC has no code for a refusal: the gateway gives the kind of it in `data.reason`. */
function isDenial(code: number, data: unknown): boolean {
  return code === -32602 && typeof data === 'object' && data !== null && typeof Reflect.get(data, 'reason') === 'string'
}
