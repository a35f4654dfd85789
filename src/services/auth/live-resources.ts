import type { Resource } from '../../resources/envelope.ts'
import type { Change, ResourceFeed, Revocable } from '../../resources/feed.ts'
import { KINDS, isKind } from '../../resources/registry.ts'
import type { Kind, ResourceOf } from '../../resources/registry.ts'
import { createShelves } from '../../resources/shelves.ts'
import type { Logger } from '../../lib/log.ts'

/** All resources of the cluster in memory, in step with the store. */
export interface LiveResources extends ResourceFeed {
  put<K extends Kind>(kind: K, resource: ResourceOf<K>): void
  remove(kind: Kind, name: string): void
  revoke(kind: Revocable, name: string): void
  /** Takes out what expired by `now` (ms); watchers see a delete. */
  expire(now: number): void
}

export function createLiveResources(log: Logger): LiveResources {
  const shelves = createShelves()
  const listeners = new Set<(change: Change) => void>()
  const publish = (change: Change): void => {
    for (const listener of listeners) {
      try {
        listener(change)
      } catch (thrown) {
        log.error('a watcher of resources failed', { cause: thrown, change })
      }
    }
  }
  const remove = (kind: Kind, name: string): void => {
    if (shelves.remove(kind, name)) publish({ type: 'delete', kind, name })
  }
  return {
    list: (kind) => shelves.list(kind),
    find: (kind, name) => shelves.find(kind, name),
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    put(kind, resource) {
      shelves.put(kind, resource)
      publish({ type: 'put', kind, name: resource.metadata.name })
    },
    remove,
    revoke: (kind, name) => publish({ type: 'revoked', kind, name }),
    expire(now) {
      for (const kind of Object.keys(KINDS)) {
        if (!isKind(kind)) continue
        for (const resource of shelves.list(kind)) if (hasExpired(resource, now)) remove(kind, resource.metadata.name)
      }
    },
  }
}

export function hasExpired(resource: Resource, now: number): boolean {
  return resource.metadata.expires !== undefined && Date.parse(resource.metadata.expires) <= now
}
