import { fetchGuarded } from '../../../lib/guarded-fetch.ts'
import type { GuardedFetchOptions } from '../../../lib/guarded-fetch.ts'
import type { AccountFetch } from './discovery.ts'

const MAX_BYTES = 256 * 1024

/** Fetches what MCP servers and their authorization servers say; nothing that a stranger named leads into our network. */
export function createAccountFetch(options: GuardedFetchOptions): AccountFetch {
  return (url, trusted, post) =>
    fetchGuarded(url, 'application/json', { maxBytes: MAX_BYTES, allowPlainLoopback: true, ...options, trusted }, post)
}
