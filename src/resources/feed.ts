import type { Kind, ResourceOf } from './registry.ts'

/** A mutation as everybody who watches sees it. `api_token` and `credential` carry no resource: only that it was revoked. */
export type Change =
  | { type: 'put'; kind: Kind; name: string }
  | { type: 'delete'; kind: Kind; name: string }
  | { type: 'revoked'; kind: 'api_token' | 'certificate'; name: string }

/** A live view of resources: complete when handed out, told of every change afterwards, synchronously and in order. */
export interface ResourceFeed {
  list<K extends Kind>(kind: K): ResourceOf<K>[]
  find<K extends Kind>(kind: K, name: string): ResourceOf<K> | undefined
  /** Calls `listener` after each change; returns what ends the subscription. */
  subscribe(listener: (change: Change) => void): () => void
}
