import { AppError } from '../../../lib/errors.ts'
import type { Fields } from '../../message.ts'
import { objectOf, without } from '../compose.ts'
import { TASKS_EXTENSION } from '../task.ts'
import { canonicalText } from './canonical.ts'

/** What a client can do, as a legacy server is told once for a whole session. */
export interface Declared {
  capabilities: Fields
  /** The same text for the same capabilities. */
  key: string
  /** Whether the server may ask this client anything. */
  isAskable: boolean
}

const KNOWN = ['experimental', 'roots', 'sampling', 'elicitation', 'extensions']
const MAX_KEY = 16 * 1024

/**
 * The capabilities of one modern request in the shape of `initialize` (2025-11-25): nothing that the request did not declare.
 * @throws AppError invalid_argument when they are too large to be kept.
 */
export function declareLegacy(client: Fields): Declared {
  const capabilities: Record<string, unknown> = {}
  for (const name of KNOWN) {
    const value = objectOf(client[name])
    const kept =
      name === 'roots' && value ? without(value, 'listChanged') : name === 'extensions' && value ? without(value, TASKS_EXTENSION) : value
    if (kept && (name !== 'extensions' || Object.keys(kept).length > 0)) capabilities[name] = kept
  }
  const key = canonicalText(capabilities)
  if (key.length > MAX_KEY)
    throw new AppError('invalid_argument', `clientCapabilities may be at most ${MAX_KEY} characters`, {
      details: { rpc: -32602, http: 200 },
    })
  return { capabilities, key, isAskable: ['roots', 'sampling', 'elicitation'].some((name) => name in capabilities) }
}

/** Whether a legacy server runs calls of tools as tasks (2025-11-25, tasks, capabilities). */
export function offersTasks(server: Fields): boolean {
  return objectOf(objectOf(objectOf(objectOf(server['tasks'])?.['requests'])?.['tools'])?.['call']) !== undefined
}

/** Whether the client speaks the extension of the modern revision for tasks. */
export function declaresTasks(client: Fields): boolean {
  return objectOf(objectOf(client['extensions'])?.[TASKS_EXTENSION]) !== undefined
}

/** `elicitation: {}` means forms only (2025-11-25, elicitation, capabilities). */
export function canElicit(capabilities: Fields, mode: 'form' | 'url'): boolean {
  const declared = objectOf(capabilities['elicitation'])
  if (!declared) return false
  const isBare = !('form' in declared) && !('url' in declared)
  return objectOf(declared[mode]) !== undefined || (mode === 'form' && isBare)
}
