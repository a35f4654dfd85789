import type { Kind, ResourceOf } from './registry.ts'

/** What is named by an id of its own: an API token, the grant of an MCP client, an `app_auth_config` at a revision, the serial of a certificate, an account at an MCP server, an instance of a bot with all its certificates; of sign-ins there, what a user was told without. */
export const REVOCABLES = ['api_token', 'oauth', 'jwt', 'certificate', 'bot_instance', 'upstream_account', 'upstream_sign_in'] as const
export type Revocable = (typeof REVOCABLES)[number]

/** What `upstream_sign_in` is called of a user who signed in to an MCP server, or out of it: no id of a credential looks like it. */
export const SIGN_IN_PREFIX = 'user:'

/**
 * A mutation as everybody who watches sees it. What was revoked carries no resource. `at` is when, in ms since 1970 by the clock of the Auth
 * Service; absent where that is the clock of who is told, and the moment is now.
 */
export type Change = (
  | { type: 'put'; kind: Kind; name: string }
  | { type: 'delete'; kind: Kind; name: string }
  | { type: 'revoked'; kind: Revocable; name: string }
) & { at?: number }

/** A live view of resources: complete when handed out, told of every change afterwards, synchronously and in order. */
export interface ResourceFeed {
  list<K extends Kind>(kind: K): ResourceOf<K>[]
  find<K extends Kind>(kind: K, name: string): ResourceOf<K> | undefined
  /** Calls `listener` after each change; returns what ends the subscription. */
  subscribe(listener: (change: Change) => void): () => void
}
