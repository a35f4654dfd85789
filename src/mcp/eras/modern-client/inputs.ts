import type { Fields } from '../../message.ts'
import { objectOf, type RpcError, withMeta, without } from '../compose.ts'
import { RELATED_TASK } from '../task.ts'
import { canElicit } from './capabilities.ts'

/** What a server wants to know of the client while a call runs, as a modern client is asked (2026-07-28, input requests). */
export interface InputRequest {
  method: string
  params?: Fields
}

/** Requests that may be answered by asking for input (2026-07-28, multi round-trip requests). */
export const MAY_ASK: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** The request of a legacy server as an input request, or why the client cannot be asked that: it did not declare it. */
export function readAsk(method: string, params: Fields, capabilities: Fields): { input: InputRequest } | { declined: RpcError } {
  // Without the capability for tasks a receiver treats the request as a plain one (2025-11-25, tasks).
  const plain = withMeta(without(params, 'task'), { progressToken: undefined, [RELATED_TASK]: undefined })
  switch (method) {
    case 'roots/list':
      return capabilities['roots'] ? { input: { method, ...(Object.keys(plain).length > 0 && { params: plain }) } } : notOffered(method)
    case 'sampling/createMessage': {
      const sampling = objectOf(capabilities['sampling'])
      if (!sampling) return notOffered(method)
      const usesTools = params['tools'] !== undefined || params['toolChoice'] !== undefined
      if (usesTools && !objectOf(sampling['tools'])) return declined(-32602, 'the client did not declare sampling.tools')
      return { input: { method, params: plain } }
    }
    case 'elicitation/create':
      return readElicitation(plain, capabilities)
    default:
      return notOffered(method)
  }
}

function readElicitation(params: Fields, capabilities: Fields): { input: InputRequest } | { declined: RpcError } {
  const method = 'elicitation/create'
  if (!capabilities['elicitation']) return notOffered(method)
  const mode = params['mode'] ?? 'form'
  if (mode !== 'form' && mode !== 'url') return declined(-32602, 'this mode of elicitation is not known')
  if (!canElicit(capabilities, mode)) return declined(-32602, `the client did not declare elicitation.${mode}`)
  // The id is for a notification that the modern revision has not.
  return { input: { method, params: mode === 'url' ? without(params, 'elicitationId') : params } }
}

/** The input requests that stand for error -32042 (2025-11-25, URL elicitation required); undefined when it has none that can be read. */
export function readRequiredUrls(data: unknown): InputRequest[] | undefined {
  const listed: unknown = objectOf(data)?.['elicitations']
  if (!Array.isArray(listed) || listed.length === 0 || listed.length > MAX_URLS) return undefined
  const inputs = listed.flatMap((one: unknown) => {
    const { url, message } = objectOf(one) ?? {}
    if (typeof url !== 'string' || typeof message !== 'string') return []
    return [{ method: 'elicitation/create', params: { mode: 'url', message, url } }]
  })
  return inputs.length === listed.length ? inputs : undefined
}

const MAX_URLS = 16

/** What every request that is not for this client is answered with. */
export function notOffered(method: string): { declined: RpcError } {
  return declined(-32601, `${method.slice(0, 100)} is not offered by this client`)
}

function declined(code: number, message: string): { declined: RpcError } {
  return { declined: { code, message } }
}

/** Whether an input response is what its request asks for; anything else is asked for again. */
export function isAnswer({ method }: InputRequest, response: unknown): response is Fields {
  const fields = objectOf(response)
  if (!fields) return false
  switch (method) {
    case 'elicitation/create': {
      const { action, content } = fields
      return (
        (action === 'accept' || action === 'decline' || action === 'cancel') && (content === undefined || objectOf(content) !== undefined)
      )
    }
    case 'roots/list': {
      const roots: unknown = fields['roots']
      return Array.isArray(roots) && roots.every((root) => typeof objectOf(root)?.['uri'] === 'string')
    }
    default:
      return typeof fields['role'] === 'string' && typeof fields['model'] === 'string' && typeof fields['content'] === 'object'
  }
}
