import type { Fields } from '../../message.ts'
import { META } from '../bridge.ts'
import { objectOf, without } from '../compose.ts'
import { TASKS_EXTENSION } from '../task.ts'
import type { LegacyClient } from './client.ts'

/** The result of `initialize` that says what `server/discover` said (2026-07-28, discovery). */
export function toInitializeResult(discovered: Fields, client: LegacyClient, server: string): Fields {
  const { instructions } = discovered
  return {
    protocolVersion: client.revision,
    capabilities: { ...toLegacyCapabilities(discovered), ...(offersTasks(discovered, client) && CORE_TASKS) },
    serverInfo: toServerInfo(objectOf(discovered['_meta'])?.[META.server], server),
    ...(typeof instructions === 'string' && { instructions }),
  }
}

const CORE_TASKS = { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }

/** Whether the client's revision has tasks, and the server the extension that they are translated to. */
export function offersTasks(discovered: Fields, { revision }: LegacyClient): boolean {
  const extensions = objectOf(objectOf(discovered['capabilities'])?.['extensions'])
  return revision === '2025-11-25' && objectOf(extensions?.[TASKS_EXTENSION]) !== undefined
}

/** The extension itself is nothing that a legacy client could use. */
function toLegacyCapabilities(discovered: Fields): Fields {
  const capabilities = without(objectOf(discovered['capabilities']) ?? {}, 'tasks')
  const extensions = objectOf(capabilities['extensions'])
  return extensions ? { ...capabilities, extensions: without(extensions, TASKS_EXTENSION) } : capabilities
}

/** Name and version are required in the legacy revisions and optional in the modern one. */
function toServerInfo(info: unknown, server: string): Fields {
  const fields = objectOf(info) ?? {}
  const name = typeof fields['name'] === 'string' ? fields['name'] : server
  const version = typeof fields['version'] === 'string' ? fields['version'] : 'unknown'
  return { ...fields, name, version }
}
