import type { Change, ResourceFeed } from '../../src/resources/feed.ts'
import { KINDS, type Kind, type ResourceOf } from '../../src/resources/registry.ts'

/** Resources in memory, changed by a test. */
export interface FakeFeed extends ResourceFeed {
  /** Parses and stores a document, then tells the watchers. */
  put(
    kind: Kind,
    document: { sub_kind?: string; version: string; metadata: Record<string, unknown> & { name: string }; spec: unknown },
  ): void
  remove(kind: Kind, name: string): void
  revoke(name: string): void
}

export function createFeed(): FakeFeed {
  const resources = new Map<string, unknown>()
  const listeners = new Set<(change: Change) => void>()
  const tell = (change: Change): void => listeners.forEach((listener) => listener(change))
  /* Put there under this kind by `put`. */
  const at = <K extends Kind>(key: string): ResourceOf<K> | undefined => resources.get(key) as ResourceOf<K> | undefined
  return {
    list: <K extends Kind>(kind: K) => [...resources.keys()].filter((key) => key.startsWith(`${kind}/`)).flatMap((key) => at<K>(key) ?? []),
    find: <K extends Kind>(kind: K, name: string) => at<K>(`${kind}/${name}`),
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    put(kind, document) {
      const { name } = document.metadata
      resources.set(`${kind}/${name}`, KINDS[kind].schema.parse({ kind, ...document }))
      tell({ type: 'put', kind, name })
    },
    remove(kind, name) {
      resources.delete(`${kind}/${name}`)
      tell({ type: 'delete', kind, name })
    },
    revoke: (name) => tell({ type: 'revoked', kind: 'api_token', name }),
  }
}
