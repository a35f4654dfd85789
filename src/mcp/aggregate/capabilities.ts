import { MODERN_REVISIONS } from '../eras/revisions.ts'
import type { Fields } from '../message.ts'

/** What servers behind an aggregate may have between them: the answer to `initialize` does not wait to learn what each has. */
const OFFERED = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  completions: {},
  logging: {},
}

/** Tasks of revision 2025-11-25; the earlier ones have none. */
const CORE_TASKS = { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }

/** Extensions whose ids and URIs are told apart here. */
const EXTENSIONS = {
  extensions: { 'io.modelcontextprotocol/tasks': {}, 'io.modelcontextprotocol/ui': {}, 'io.modelcontextprotocol/skills': {} },
}

/** The result of `initialize`. */
export function initializeResult(revision: string, serverInfo: Fields, instructions: string): Fields {
  return {
    protocolVersion: revision,
    capabilities: { ...OFFERED, ...(revision === '2025-11-25' && CORE_TASKS) },
    serverInfo,
    ...(instructions !== '' && { instructions }),
  }
}

/** The result of `server/discover` (2026-07-28). */
export function discoverResult(serverInfo: Fields, instructions: string): Fields {
  return {
    resultType: 'complete',
    supportedVersions: MODERN_REVISIONS,
    capabilities: { ...OFFERED, ...EXTENSIONS },
    ...(instructions !== '' && { instructions }),
    ttlMs: 0,
    cacheScope: 'private',
    _meta: { 'io.modelcontextprotocol/serverInfo': serverInfo },
  }
}
