import type { Resource } from './envelope.ts'
import { KINDS } from './registry.ts'
import type { Kind, ResourceOf } from './registry.ts'

/** Resources in memory, by kind and name. */
export interface Shelves {
  /** Sorted by name; a list of the caller's own. */
  list<K extends Kind>(kind: K): ResourceOf<K>[]
  find<K extends Kind>(kind: K, name: string): ResourceOf<K> | undefined
  put<K extends Kind>(kind: K, resource: ResourceOf<K>): void
  /** False when it is not there. */
  remove(kind: Kind, name: string): boolean
}

interface Shelf<R> {
  all: Map<string, R>
  /** By name, until something changes: locks are asked for with every call. */
  sorted: readonly R[] | undefined
}

export function createShelves(): Shelves {
  const shelves = new Map<string, Shelf<Resource>>(Object.keys(KINDS).map((kind) => [kind, { all: new Map(), sorted: undefined }]))
  // A kind's shelf has that kind only: `put` is the one way in, and it says so.
  const shelf = <K extends Kind>(kind: K) => (shelves.get(kind) ?? { all: new Map(), sorted: undefined }) as Shelf<ResourceOf<K>>
  return {
    list(kind) {
      const found = shelf(kind)
      found.sorted ??= [...found.all.values()].sort(byName)
      return [...found.sorted]
    },
    find: (kind, name) => shelf(kind).all.get(name),
    put(kind, resource) {
      const found = shelf(kind)
      found.all.set(resource.metadata.name, resource)
      found.sorted = undefined
    },
    remove(kind, name) {
      const found = shelf(kind)
      found.sorted = undefined
      return found.all.delete(name)
    },
  }
}

function byName(a: Resource, b: Resource): number {
  return a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0
}
