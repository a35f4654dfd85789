import { createHash } from 'node:crypto'
import { AppError } from '../../../lib/errors.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing } from '../../upstream/upstream.ts'
import { META } from '../bridge.ts'
import { objectOf, paramsOf, withMeta, without } from '../compose.ts'
import { canonicalText } from './canonical.ts'
import { isLevel } from './log-levels.ts'

/** A request of a modern client, taken apart: what a legacy server gets, and what the client said beside it. */
export interface ModernRequest {
  /** Raw JSON text. */
  id: string
  method: string
  /** Without the members and `_meta` keys of the modern revision, and without the progress token. */
  params: Fields
  capabilities: Fields
  clientInfo: unknown
  /** Of the client; undefined when it wants no progress. */
  progressToken: unknown
  logLevel: string | undefined
  inputResponses: unknown
  requestState: unknown
  /** The same for a request and its retries: method and parameters, not what answers the server's questions. */
  digest: string
}

const RETRY_MEMBERS = ['inputResponses', 'requestState']
/** `_meta` keys of a modern request (2026-07-28, base protocol, `_meta`), which mean nothing to a legacy server. */
const ENVELOPE = [META.version, META.capabilities, META.client, META.logLevel]

/** @throws AppError invalid_argument for a log level that is none. */
export function readModernRequest(message: Outgoing): ModernRequest {
  const { id, method } = message
  if (id === undefined || method === undefined) throw new AppError('internal', 'a request needs an id and a method')
  const sent = paramsOf(message)
  const meta = objectOf(sent['_meta']) ?? {}
  const bare = without(sent, ...RETRY_MEMBERS)
  const params = withMeta(bare, Object.fromEntries([...ENVELOPE, 'progressToken'].map((name) => [name, undefined])))
  return {
    id,
    method,
    params,
    capabilities: objectOf(meta[META.capabilities]) ?? {},
    clientInfo: meta[META.client],
    progressToken: meta['progressToken'],
    logLevel: readLogLevel(meta[META.logLevel]),
    inputResponses: sent['inputResponses'],
    requestState: sent['requestState'],
    digest: createHash('sha256')
      .update(canonicalText([method, without(bare, '_meta')]))
      .digest('base64url'),
  }
}

function readLogLevel(level: unknown): string | undefined {
  if (level === undefined || isLevel(level)) return level
  throw new AppError('invalid_argument', `_meta["${META.logLevel}"] is no log level`, { details: { rpc: -32602, http: 200 } })
}
