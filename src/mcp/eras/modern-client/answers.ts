import { AppError } from '../../../lib/errors.ts'
import type { Fields } from '../../message.ts'
import { META } from '../bridge.ts'
import { numberOf, objectOf, renderAnswer, type RpcError, withMeta, without } from '../compose.ts'
import { MODERN_REVISIONS } from '../revisions.ts'
import { RELATED_TASK, TASKS_EXTENSION } from '../task.ts'
import { canElicit, offersTasks } from './capabilities.ts'
import { type InputRequest, MAY_ASK, readRequiredUrls } from './inputs.ts'
import type { ModernRequest } from './modern-request.ts'

/** Who a legacy server said it is. */
export interface ServerFacts {
  protocolVersion: string
  capabilities: Fields
  serverInfo: unknown
  instructions: unknown
}

/** The answer of a legacy server as a modern client gets it, or what the client has to be asked before the request is sent anew. */
export type Translated = { bytes: Buffer } | { urls: InputRequest[] }

/** Results that may be cached say for how long (2026-07-28, caching); a legacy server promised nothing. */
const NOT_CACHED = { ttlMs: 0, cacheScope: 'private' }
const CACHEABLE = new Set(['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read'])
const URL_REQUIRED = -32042
const RESOURCE_NOT_FOUND = -32002
const MISSING_CAPABILITY = -32021

/** @throws AppError unavailable (origin upstream) for what is no response. */
export function translateResponse(request: ModernRequest, message: Fields, facts: ServerFacts): Translated {
  const { id, method, capabilities } = request
  const error = objectOf(message['error'])
  if (error) {
    const urls = numberOf(error['code']) === URL_REQUIRED ? readRequiredUrls(error['data']) : undefined
    if (urls && canElicit(capabilities, 'url') && MAY_ASK.has(method)) return { urls }
    return { bytes: renderAnswer(id, { error: translateError(request, error, urls !== undefined) }) }
  }
  const result = objectOf(message['result'])
  if (!result) throw new AppError('unavailable', 'the MCP server answered without a result or an error', { origin: 'upstream' })
  if (method === 'tools/call' && objectOf(result['task']))
    throw new AppError('unavailable', 'the MCP server made a task of a call that asked for none', { origin: 'upstream' })
  return { bytes: renderAnswer(id, { result: translateResult(method, result, facts) }) }
}

function translateResult(method: string, result: Fields, facts: ServerFacts): Fields {
  const tools: unknown = result['tools']
  const listed = method === 'tools/list' && Array.isArray(tools) ? { tools: tools.map(withoutExecution) } : {}
  const cached = CACHEABLE.has(method) ? NOT_CACHED : {}
  return withServerInfo({ ...result, ...listed, ...cached, resultType: 'complete' }, facts)
}

/** How a tool runs as a task is nothing that a modern client could use. */
function withoutExecution(tool: unknown): unknown {
  const fields = objectOf(tool)
  return fields ? without(fields, 'execution') : tool
}

function withServerInfo(result: Fields, { serverInfo }: ServerFacts): Fields {
  return withMeta(result, { [META.server]: objectOf(serverInfo) })
}

/** A result about a task (tasks extension). */
export function renderTaskResult(id: string, result: Fields, facts: ServerFacts): Buffer {
  return renderAnswer(id, { result: withServerInfo(result, facts) })
}

/** What `tasks/result` of a legacy server says, as the members that end a task of the extension: a tool that failed is a completed task. */
export function toTaskOutcome(message: Fields): { status: 'completed'; result: Fields } | { status: 'failed'; error: RpcError } {
  const error = objectOf(message['error'])
  if (error) return { status: 'failed', error: translateError({ method: 'tools/call', params: {} }, error, false) }
  const result = objectOf(message['result'])
  if (!result) return { status: 'failed', error: { code: -32603, message: 'the MCP server ended the task without a result' } }
  return { status: 'completed', result: { ...withMeta(result, { [RELATED_TASK]: undefined }), resultType: 'complete' } }
}

export function translateError({ method, params }: Pick<ModernRequest, 'method' | 'params'>, error: Fields, needsUrls: boolean): RpcError {
  const code = numberOf(error['code']) ?? -32603
  const message = typeof error['message'] === 'string' ? error['message'] : 'the MCP server gave no reason'
  const data = error['data'] === undefined ? {} : { data: error['data'] }
  if (code === URL_REQUIRED && needsUrls)
    return { code: MISSING_CAPABILITY, message, data: { requiredCapabilities: { elicitation: { url: {} } } } }
  if (code === RESOURCE_NOT_FOUND)
    return { code: -32602, message, data: { ...objectOf(error['data']), ...(method === 'resources/read' && { uri: params['uri'] }) } }
  // Numbers that only the modern revision gives a meaning (2026-07-28, error codes): said by a legacy server they mean something else.
  const isTaken = code === URL_REQUIRED || (code <= -32020 && code >= -32099)
  return { code: isTaken || !Number.isInteger(code) ? -32603 : code, message, ...data }
}

/** What `server/discover` says of a legacy server. */
export function renderDiscovery(id: string, facts: ServerFacts): Buffer {
  const { capabilities, instructions } = facts
  const result = {
    resultType: 'complete',
    supportedVersions: MODERN_REVISIONS,
    capabilities: toModernCapabilities(capabilities),
    ...(typeof instructions === 'string' && { instructions }),
    ...NOT_CACHED,
  }
  return renderAnswer(id, { result: withServerInfo(result, facts) })
}

/** Tasks that a tool may run as are the extension; no other has a like in the modern revision. */
function toModernCapabilities(capabilities: Fields): Fields {
  const rest = without(capabilities, 'tasks')
  return offersTasks(capabilities) ? { ...rest, extensions: { ...objectOf(rest['extensions']), [TASKS_EXTENSION]: {} } } : rest
}

/** Asks the client for input before the same request is sent again (2026-07-28, multi round-trip requests). */
export function renderInputRequired(
  id: string,
  inputs: ReadonlyMap<string, InputRequest>,
  requestState: string,
  facts: ServerFacts,
): Buffer {
  const result = { resultType: 'input_required', inputRequests: Object.fromEntries(inputs), requestState }
  return renderAnswer(id, { result: withServerInfo(result, facts) })
}

/** Why something cannot be had by a client that does not declare the extension for tasks; `what` ends with its verb. */
export function needsTasks(what: string): AppError {
  return new AppError('invalid_argument', `${what} with the extension ${TASKS_EXTENSION} only: use a client that declares it`, {
    details: {
      rpc: MISSING_CAPABILITY,
      http: 400,
      data: { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } },
    },
  })
}
