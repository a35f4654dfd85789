import { AppError } from '../../../lib/errors.ts'
import type { ConnectorClient, ConnectorClients } from './connector-client.ts'
import { openGithub } from './github.ts'
import { openOidc } from './oidc.ts'

const FRESH_MS = 10 * 60_000
const MAX_KEPT = 100

/** Makes clients of connectors and keeps them for a while, with what their providers publish of themselves; a change makes a new one. */
export function createConnectorClients({ now }: { now: () => number }): ConnectorClients {
  const kept = new Map<string, { madeAt: number; client: Promise<ConnectorClient> }>()
  return async (connector, secret) => {
    if (secret === undefined) throw new AppError('failed_precondition', `connector "${connector.metadata.name}" has no client_secret`)
    const open = (): Promise<ConnectorClient> =>
      connector.kind === 'oidc' ? openOidc(connector, secret, now) : openGithub(connector, secret)
    const { revision } = connector.metadata
    // A connector that is only tried out is not kept.
    if (revision === undefined) return await open()
    const known = kept.get(revision)
    if (known && now() - known.madeAt < FRESH_MS) return await known.client
    const made = { madeAt: now(), client: open() }
    kept.set(revision, made)
    for (const oldest of kept.keys()) {
      if (kept.size <= MAX_KEPT) break
      kept.delete(oldest)
    }
    made.client.catch(() => kept.get(revision) === made && kept.delete(revision))
    return await made.client
  }
}
