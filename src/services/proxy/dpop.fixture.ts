import { DpopNonces } from './dpop-nonces.ts'
import { type DpopOptions, DpopProofs } from './dpop.ts'

/** As in a cluster of one process, with what it remembers in memory. */
export function createProofs(now: () => number, options: Partial<DpopOptions> = {}): DpopProofs {
  const used = new Set<string>()
  return new DpopProofs({
    nonces: new DpopNonces(Buffer.alloc(32, 1), now),
    requiresNonce: false,
    useOnce: async (id) => !used.has(id) && used.add(id).has(id),
    noteRefusal: async () => undefined,
    now,
    ...options,
  })
}
