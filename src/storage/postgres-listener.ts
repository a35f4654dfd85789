import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import type { Logger } from '../lib/log.ts'
import type { ChangeListener } from './changes.ts'
import { connect, endClient } from './postgres.ts'
import { parseConnString } from './postgres-address.ts'
import { toPostgresError } from './postgres-errors.ts'

const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 10_000

/**
 * Calls `wake` when a process of the cluster changed something, over a connection of its own that is opened again whenever it ends. It is a hint and
 * no more: what is missed while there is no connection is found by looking from time to time.
 */
export function openPostgresListener(connString: string, wake: () => void, log: Logger): ChangeListener {
  const address = parseConnString(connString)
  const closing = new AbortController()
  let current: Client | undefined
  const listen = async (): Promise<void> => {
    const client = await connect(address)
    current = client
    try {
      const ended = new Promise<void>((resolve) => void client.on('end', resolve).on('error', () => resolve()))
      const { rows } = await client.query<{ schema: string }>('select current_schema() as schema')
      client.on('notification', ({ payload }) => payload === rows[0]?.schema && wake())
      await client.query('listen sallyport_changes')
      wake()
      if (!closing.signal.aborted) await ended
    } finally {
      await endClient(client)
    }
  }
  const keepListening = async (): Promise<void> => {
    for (let pause = FIRST_PAUSE_MS; !closing.signal.aborted; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      const began = performance.now()
      try {
        await listen()
      } catch (cause) {
        log.debug('no connection that tells of changes: they are looked for', { error: toPostgresError(cause) })
      }
      if (performance.now() - began > MAX_PAUSE_MS) pause = FIRST_PAUSE_MS
      await sleep(pause, undefined, { signal: closing.signal, ref: false }).catch(() => undefined) // it closes
    }
  }
  void keepListening()
  return {
    async close() {
      closing.abort()
      if (current) await endClient(current)
    },
  }
}
