import { createHealingSession } from './healing-session.ts'
import type { HealingDeps } from './healing-session.ts'
import type { Upstream } from './upstream.ts'

/**
 * The same MCP server, whose legacy sessions survive that the server forgets them (HTTP 404) or goes away (its process, its event
 * stream): they begin again at the server, while to the client nothing happened.
 */
export function createHealingUpstream(inner: Upstream, deps: HealingDeps): Upstream {
  return {
    async open(options) {
      const session = await inner.open(options)
      if (options.era === 'modern') return session
      return createHealingSession({ ...deps, first: session, open: () => inner.open(options) })
    },
    ...(inner.health && { health: inner.health }),
    isModernOnly: inner.isModernOnly === true,
    stderrTail: () => inner.stderrTail(),
    close: () => inner.close(),
  }
}
