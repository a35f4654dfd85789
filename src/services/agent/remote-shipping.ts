import { setTimeout as sleep } from 'node:timers/promises'
import type { Shipping, Spool } from '../../audit/spool.ts'
import { saveEvents } from '../../client/audit.ts'
import type { ApiClient } from '../../client/call.ts'
import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'

/** For the last events, when the agent ends: what is not taken by then is sent after the next start. */
const FAREWELL_MS = 10_000

/**
 * Brings what comes into the journal to the Auth Service: in order, each once (the store knows them by their ids), again and again until it is
 * taken. What is refused for its content is set aside beside the journal, so that it holds up nothing.
 */
export function shipToAuthService(spool: Spool, api: ApiClient, log: Logger): Shipping {
  const stop = new AbortController()
  const send: Parameters<Spool['drain']>[0] = (events) => saveEvents(api, events)
  const shipping = spool
    .ship(send, { signal: stop.signal })
    .catch((error: unknown) => log.error('audit events are no longer sent', { error }))
  return {
    async close() {
      stop.abort()
      const farewell = Promise.all([shipping, spool.drain(send)])
      const isDone = await Promise.race([
        farewell.then(
          () => true,
          (thrown: unknown) => logKept(log, thrown),
        ),
        sleep(FAREWELL_MS, false, { ref: false }),
      ])
      if (!isDone) log.warn('audit events are left in the journal: they are sent after the next start')
    },
  }
}

function logKept(log: Logger, thrown: unknown): false {
  log.debug('the last audit events could not be sent', { error: toAppError(thrown) })
  return false
}
