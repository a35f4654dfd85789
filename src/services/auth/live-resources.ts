import type { Resource } from '../../resources/envelope.ts'
import type { Change, ResourceFeed, Revocable } from '../../resources/feed.ts'
import { KINDS, isKind } from '../../resources/registry.ts'
import type { Kind, ResourceOf } from '../../resources/registry.ts'
import type { Logger } from '../../lib/log.ts'

/** All resources of the cluster in memory, in step with the store. */
export interface LiveResources extends ResourceFeed {
  put<K extends Kind>(kind: K, resource: ResourceOf<K>): void
  remove(kind: Kind, name: string): void
  revoke(kind: Revocable, name: string): void
  /** Takes out what expired by `now` (ms); watchers see a delete. */
  expire(now: number): void
}

interface Shelf<R> {
  all: Map<string, R>
  /** By name, until something changes: locks are asked for with every call. */
  sorted: readonly R[] | undefined
}

export function createLiveResources(log: Logger): LiveResources {
  const shelves = new Map<string, Shelf<Resource>>(Object.keys(KINDS).map((kind) => [kind, { all: new Map(), sorted: undefined }]))
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
  // A kind's shelf has that kind only: `put` is the one way in, and it says so.
  const shelf = <K extends Kind>(kind: K) => (shelves.get(kind) ?? { all: new Map(), sorted: undefined }) as Shelf<ResourceOf<K>>
  const remove = (kind: Kind, name: string): void => {
    if (!shelf(kind).all.delete(name)) return
    shelf(kind).sorted = undefined
    publish({ type: 'delete', kind, name })
  }
  return {
    list(kind) {
      const found = shelf(kind)
      found.sorted ??= [...found.all.values()].sort(byName)
      return [...found.sorted]
    },
    find: (kind, name) => shelf(kind).all.get(name),
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    put(kind, resource) {
      shelf(kind).all.set(resource.metadata.name, resource)
      shelf(kind).sorted = undefined
      publish({ type: 'put', kind, name: resource.metadata.name })
    },
    remove,
    revoke: (kind, name) => publish({ type: 'revoked', kind, name }),
    expire(now) {
      for (const kind of Object.keys(KINDS)) {
        if (!isKind(kind)) continue
        for (const [name, resource] of shelf(kind).all) if (hasExpired(resource, now)) remove(kind, name)
      }
    },
  }
}

export function hasExpired(resource: Resource, now: number): boolean {
  return resource.metadata.expires !== undefined && Date.parse(resource.metadata.expires) <= now
}

function byName(a: Resource, b: Resource): number {
  return a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0
}
