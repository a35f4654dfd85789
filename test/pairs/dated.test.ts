import { expect, test } from 'vitest'
import { openDatedClient } from './dated-client.ts'
import { startDatedServer } from './dated-server.ts'
import { FEATURES } from './features.ts'
import { outcomeOf, REVISIONS } from './outcome.ts'

// The measure measured: without a gateway between them, client and server of one revision understand each other.

test.each(REVISIONS)('client and server of %s', async (revision) => {
  const server = await startDatedServer(revision)
  const client = await openDatedClient(revision, new URL(server.uri.replace(/^mcp\+(?:sse\+)?/, '')), 'none')
  try {
    const outcomes: Record<string, string> = {}
    for (const feature of FEATURES) {
      const outcome = await outcomeOf(feature, client, server)
      if (outcome !== 'works') outcomes[feature.name] = outcome
    }
    const absent = revision === '2025-03-26' ? ['an unknown method', 'asking what the client cannot'] : ['an unknown method', 'a batch']
    expect(outcomes).toMatchObject({ 'an unknown method': 'refused: Method not found: no/such' })
    expect(Object.values(outcomes).filter((outcome) => outcome.startsWith('FAILED'))).toEqual([])
    expect(Object.keys(outcomes)).toEqual(expect.arrayContaining(absent))
    expect(server.faults).toEqual([])
  } finally {
    await client.close()
    await server.close()
  }
})
