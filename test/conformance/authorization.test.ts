import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { freePort } from '../free-port.ts'
import { hasSuite, runAuthorization } from './suite.ts'

// The official conformance suite's scenarios for authorization servers.

let cluster: Cluster

describe.skipIf(!hasSuite)('the official conformance suite', { timeout: 120_000 }, () => {
  beforeAll(async () => {
    cluster = await startCluster()
    await cluster.saveUser('ana', ['mcp-user'])
  }, 60_000)
  afterAll(() => cluster?.close())

  it('finds nothing wrong with the authorization server', async () => {
    const port = await freePort()
    const flow = new OAuthFlow(cluster)
    await flow.register({ redirect_uris: [`http://127.0.0.1:${port}/callback`] })
    const findings = await runAuthorization(cluster.url, { clientId: flow.clientId, resource: `${cluster.url}/mcp`, port }, async (url) => {
      const answer = await fetch(await flow.browser.allow(url, 'ana'))
      expect(answer.status).toBe(200)
    })
    expect([...findings.keys()].toSorted()).toEqual(['authorization-code-grant', 'authorization-server-metadata-endpoint'])
    const wrong = [...findings.values()].flatMap((checks) => [...checks].filter(([, { status }]) => status !== 'SUCCESS'))
    expect(wrong).toEqual([])
  })
})
