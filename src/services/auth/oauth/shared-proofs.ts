import { buildEvent } from '../../../audit/build-event.ts'
import { useOnce } from '../../../storage/shared-marks.ts'
import type { AuthContext } from '../context.ts'

/** What everybody in the cluster who verifies proofs of keys (RFC 9449) has in common. */
export interface SharedProofs {
  /** Whether an id is used for the first time; it is remembered until `expiresAt`, ms since 1970. */
  useOnce(id: string, expiresAt: number): Promise<boolean>
  /** Writes down a refusal; in bounds, since anybody can make up proofs. Throws `resource_exhausted` beyond them. */
  noteRefusal(endpoint: string, remoteAddress: string, why: string): Promise<void>
}

export function createSharedProofs({ db, limits, journal, build }: AuthContext): SharedProofs {
  return {
    useOnce: (id, expiresAt) => useOnce(db, id, expiresAt),
    noteRefusal: async (endpoint, remoteAddress, why) => {
      await limits.countPublicCall(remoteAddress)
      const event = { remote_addr: remoteAddress, success: false, error: why, resource: endpoint.slice(0, 500) }
      await journal.record([buildEvent('oauth.token.use.failure', event, build)])
    },
  }
}
