import { findMethod } from '../../methods.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing } from '../../upstream/upstream.ts'
import { META, MODERN_REVISION } from '../bridge.ts'
import { composeRequest, objectOf, withMeta, without } from '../compose.ts'
import { encodeHeaderValue } from '../header-value.ts'
import { mirrorHeaders, type Mirrors } from '../mirrors.ts'
import { asksForTask, TASKS_EXTENSION } from '../task.ts'
import type { LegacyClient } from './client.ts'

/** What every request to a modern server says about the client. */
export interface Envelope {
  client: LegacyClient
  /** Of the last `logging/setLevel`. */
  logLevel: string | undefined
  mirrors: Mirrors
  /** Whether tasks are translated. */
  offersTasks: boolean
}

/** What only a retry carries (2026-07-28, multi round-trip requests). */
export interface Retried {
  inputResponses?: Fields
  requestState?: string
}

/** A request of a legacy client as a modern server wants it, headers included. `id` is raw JSON text. */
export function toModern(id: string, method: string, legacyParams: Fields, retried: Retried, envelope: Envelope): Outgoing {
  const { client, logLevel, mirrors } = envelope
  // These would mean something else to the server than they did to whoever judged the message.
  const params = without(legacyParams, 'inputResponses', 'requestState', ...(method === 'tools/call' ? ['task'] : []))
  const meta = {
    [META.version]: MODERN_REVISION,
    [META.capabilities]: isAboutTasks(method, legacyParams, envelope) ? withTasks(client.capabilities) : client.capabilities,
    [META.client]: client.info,
    [META.logLevel]: logLevel,
  }
  const headers: Record<string, string> = { 'mcp-protocol-version': MODERN_REVISION, 'mcp-method': method }
  const member = findMethod(method)?.header
  const name = member && params[member]
  if (typeof name === 'string') headers['mcp-name'] = encodeHeaderValue(name)
  if (method === 'tools/call') Object.assign(headers, mirrorHeaders(mirrors, params))
  return composeRequest(id, method, { ...withMeta(params, meta), ...retried }, headers)
}

/** A server may make a task of any call whose client declares the extension, so only a call that asked for one does. */
function isAboutTasks(method: string, params: Fields, { offersTasks }: Envelope): boolean {
  if (!offersTasks) return false
  return method.startsWith('tasks/') || asksForTask(method, params) || objectOf(params['notifications'])?.['taskIds'] !== undefined
}

function withTasks(capabilities: Fields): Fields {
  return { ...capabilities, extensions: { ...objectOf(capabilities['extensions']), [TASKS_EXTENSION]: {} } }
}
