import type { Fields } from '../../message.ts'
import { META } from '../bridge.ts'
import { objectOf, without } from '../compose.ts'
import type { LegacyClient } from './client.ts'

/** The result of `initialize` that says what `server/discover` said (2026-07-28, discovery). */
export function toInitializeResult(discovered: Fields, client: LegacyClient, server: string): Fields {
  const { instructions } = discovered
  return {
    protocolVersion: client.revision,
    capabilities: toLegacyCapabilities(discovered),
    serverInfo: toServerInfo(objectOf(discovered['_meta'])?.[META.server], server),
    ...(typeof instructions === 'string' && { instructions }),
  }
}

/** Tasks of the modern revision are an extension that no legacy client can use. */
function toLegacyCapabilities(discovered: Fields): Fields {
  const capabilities = without(objectOf(discovered['capabilities']) ?? {}, 'tasks')
  const extensions = objectOf(capabilities['extensions'])
  return extensions ? { ...capabilities, extensions: without(extensions, 'io.modelcontextprotocol/tasks') } : capabilities
}

/** Name and version are required in the legacy revisions and optional in the modern one. */
function toServerInfo(info: unknown, server: string): Fields {
  const fields = objectOf(info) ?? {}
  const name = typeof fields['name'] === 'string' ? fields['name'] : server
  const version = typeof fields['version'] === 'string' ? fields['version'] : 'unknown'
  return { ...fields, name, version }
}
