import type { DatedClient } from './dated-client.ts'
import type { DatedServer } from './dated-server.ts'
import { RpcError } from './dated-tools.ts'
import { AS_IT_IS, type Exposure, type Feature } from './features.ts'

export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'] as const

/** What became of a feature between a client and a server: a word, or the reason in words. */
export async function outcomeOf(feature: Feature, client: DatedClient, server: DatedServer, exposed: Exposure = AS_IT_IS): Promise<string> {
  if (!isIn(feature.client, client.revision)) return 'not in the client’s revision'
  if (!isIn(feature.server, server.revision)) return 'not in the server’s revision'
  try {
    await feature.run(client, server, exposed)
  } catch (thrown) {
    if (thrown instanceof RpcError) return `refused: ${thrown.message}`
    return `FAILED: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  }
  const isModern = (revision: string): boolean => revision === '2026-07-28'
  return isModern(client.revision) === isModern(server.revision) ? 'works' : 'translated'
}

function isIn({ from = '', to = '9' }: { from?: string; to?: string }, revision: string): boolean {
  return revision >= from && revision <= to
}
