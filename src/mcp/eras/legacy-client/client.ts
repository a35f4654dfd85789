import type { Fields } from '../../message.ts'
import { LAST_LEGACY_REVISION } from '../bridge.ts'
import { objectOf, without } from '../compose.ts'
import { isLegacy } from '../revisions.ts'
import { TASKS_EXTENSION } from '../task.ts'

/** Who a legacy client said it is when it opened its session. */
export interface LegacyClient {
  /** What is spoken with it. */
  revision: string
  info: Fields | undefined
  /** As a modern server may know them: only what this client can be asked in its revision. */
  capabilities: Fields
}

const FORM_SINCE = '2025-06-18'
const URL_SINCE = '2025-11-25'
const SAMPLING_TOOLS_SINCE = '2025-11-25'

/** Reads the parameters of `initialize`; a revision nobody knows is answered with the last legacy one (2025-11-25, lifecycle). */
export function readClient(params: Fields): LegacyClient {
  const asked = params['protocolVersion']
  const revision = typeof asked === 'string' && isLegacy(asked) ? asked : LAST_LEGACY_REVISION
  const capabilities = readCapabilities(objectOf(params['capabilities']) ?? {}, revision)
  return { revision, info: objectOf(params['clientInfo']), capabilities }
}

/** Revisions are dates, so they compare as text. */
function readCapabilities(declared: Fields, revision: string): Fields {
  const known: Record<string, unknown> = { ...without(declared, 'tasks') }
  const roots = objectOf(declared['roots'])
  if (roots) known['roots'] = without(roots, 'listChanged')
  const extensions = objectOf(declared['extensions'])
  if (extensions) known['extensions'] = without(extensions, TASKS_EXTENSION)
  if (objectOf(declared['elicitation']) && revision < URL_SINCE) known['elicitation'] = {}
  if (revision < FORM_SINCE) delete known['elicitation']
  if (objectOf(declared['sampling']) && revision < SAMPLING_TOOLS_SINCE) known['sampling'] = {}
  return known
}

/** Why this client cannot be asked for this input, in words that end a sentence; undefined when it can. */
export function reasonNotToAsk({ capabilities }: LegacyClient, method: string, params: Fields): string | undefined {
  if (method === 'roots/list') return objectOf(capabilities['roots']) ? undefined : 'its roots'
  if (method === 'sampling/createMessage') {
    const sampling = objectOf(capabilities['sampling'])
    if (!sampling) return 'sampling'
    const needsTools = params['tools'] !== undefined || params['toolChoice'] !== undefined
    return needsTools && !objectOf(sampling['tools']) ? 'sampling with tools' : undefined
  }
  if (method !== 'elicitation/create') return `an answer to ${JSON.stringify(method.slice(0, 100))}`
  const elicitation = objectOf(capabilities['elicitation'])
  if (params['mode'] === 'url') return objectOf(elicitation?.['url']) ? undefined : 'elicitation by URL'
  // No mode named means forms (2025-11-25, elicitation, capabilities).
  const hasForm = elicitation && (objectOf(elicitation['form']) ?? (elicitation['url'] === undefined ? elicitation : undefined))
  return hasForm ? undefined : 'elicitation by form'
}

/** The parameters of an embedded request as the client's revision has them. `makeId` gives the id that 2025-11-25 wants with a URL. */
export function toLegacyQuestion({ revision }: LegacyClient, method: string, params: Fields, makeId: () => string): Fields {
  if (method === 'elicitation/create' && params['mode'] === 'url' && params['elicitationId'] === undefined)
    return { ...params, elicitationId: makeId() }
  if (method === 'elicitation/create' && revision < URL_SINCE) return without(params, 'mode')
  if (method === 'sampling/createMessage' && revision < SAMPLING_TOOLS_SINCE)
    return { ...params, messages: splitContent(params['messages']) }
  return params
}

/** Older clients take one block of content a message. */
function splitContent(messages: unknown): unknown {
  if (!Array.isArray(messages)) return messages
  return messages.flatMap((message: unknown) => {
    const fields = objectOf(message)
    const content = fields?.['content']
    return fields && Array.isArray(content) ? content.map((block: unknown) => ({ ...fields, content: block })) : [message]
  })
}
