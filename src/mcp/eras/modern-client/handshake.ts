import { AppError } from '../../../lib/errors.ts'
import type { Fields } from '../../message.ts'
import type { UpstreamSession } from '../../upstream/upstream.ts'
import { LAST_LEGACY_REVISION } from '../bridge.ts'
import { composeNotification, composeRequest, isOverlong, MAX_DESCRIPTION, objectOf, saidIn, without } from '../compose.ts'
import { isLegacy } from '../revisions.ts'
import type { ServerFacts } from './answers.ts'

export interface Introduction {
  server: string
  capabilities: Fields
  clientInfo: unknown
  /** Of the gateway, which speaks for a client that does not say who it is. */
  version: string
}

const INITIALIZE_MS = 60_000

/**
 * Opens the session on a connection to a legacy server (2025-11-25, lifecycle).
 * @throws AppError unavailable when the server refuses, or speaks a revision that is not known here; deadline_exceeded after a minute.
 */
export async function shakeHands(
  inner: UpstreamSession,
  { server, capabilities, clientInfo, version }: Introduction,
): Promise<ServerFacts> {
  const params = {
    protocolVersion: LAST_LEGACY_REVISION,
    capabilities,
    clientInfo: readClientInfo(clientInfo) ?? { name: 'sallyport', version },
  }
  const late = AbortSignal.timeout(INITIALIZE_MS)
  try {
    const result = await initialize(inner, server, params, late)
    const { protocolVersion } = result
    if (typeof protocolVersion !== 'string' || !isLegacy(protocolVersion))
      throw new AppError('unavailable', `MCP server "${server}" speaks a revision that is not known here: ${shown(protocolVersion)}`, {
        origin: 'upstream',
      })
    await inner.send(composeNotification('notifications/initialized', undefined, { 'mcp-protocol-version': protocolVersion }), late)
    return {
      protocolVersion,
      capabilities: objectOf(result['capabilities']) ?? {},
      serverInfo: withUsableIcons(result['serverInfo']),
      instructions: result['instructions'],
    }
  } catch (thrown) {
    if (!late.aborted) throw thrown
    throw new AppError('deadline_exceeded', `MCP server "${server}" did not open a session within ${INITIALIZE_MS / 1000} s`, {
      origin: 'upstream',
      cause: thrown,
    })
  }
}

/** An icon is named by a URI (2026-07-28, icons); a path, as older servers have it, would make the whole result invalid to a strict client. */
function withUsableIcons(info: unknown): unknown {
  const fields = objectOf(info)
  const icons: unknown = fields?.['icons']
  if (!fields || !Array.isArray(icons)) return info
  const usable = icons.filter((icon: unknown) => {
    const src: unknown = objectOf(icon)?.['src']
    return typeof src === 'string' && URL.canParse(src)
  })
  return usable.length === icons.length ? info : { ...without(fields, 'icons'), ...(usable.length > 0 && { icons: usable }) }
}

async function initialize(inner: UpstreamSession, server: string, params: Fields, signal: AbortSignal): Promise<Fields> {
  for await (const { message } of saidIn(await inner.send(composeRequest('0', 'initialize', params), signal), server)) {
    const error = objectOf(message['error'])
    const result = objectOf(message['result'])
    if (error)
      throw new AppError('unavailable', `MCP server "${server}" opened no session: ${shown(error['message'])}`, { origin: 'upstream' })
    if (result && isOverlong(result))
      throw new AppError('unavailable', `MCP server "${server}" describes itself in more than ${MAX_DESCRIPTION} characters`, {
        origin: 'upstream',
      })
    if (result) return result
  }
  throw new AppError('unavailable', `MCP server "${server}" did not answer initialize`, { origin: 'upstream' })
}

/** Both members are required in `initialize`, and a modern client may leave it out altogether. */
function readClientInfo(info: unknown): Fields | undefined {
  const fields = objectOf(info)
  return typeof fields?.['name'] === 'string' && typeof fields['version'] === 'string' ? fields : undefined
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 300)
}
