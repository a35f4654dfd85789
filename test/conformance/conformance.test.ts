import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { ROOT } from '../programs.ts'
import { type BearerForwarder, startBearerForwarder } from './bearer-forwarder.ts'
import { type Difference, passed, report, worseThan } from './compare.ts'
import { type Findings, hasSuite, runSuite } from './suite.ts'
import { type ConformanceUpstream, startConformanceUpstream } from './upstream.ts'

// The official conformance suite of MCP judges an MCP server as it is, and through the gateway. What it grants the server it has to grant the
// gateway in front of it, be the server reached over HTTP or be it a program that has no HTTP of its own. There are no scenarios for 2024-11-05.

/** How many scenarios the suite has for a revision; the server behind the gateway passes all of them. */
const REVISIONS = [
  { revision: '2025-03-26', scenarios: 1 },
  { revision: '2025-06-18', scenarios: 27 },
  { revision: '2025-11-25', scenarios: 33 },
  { revision: '2026-07-28', scenarios: 40 },
]

/** What may turn out worse through the gateway. */
const DIFFERENCES: Difference[] = [
  {
    server: 'stdio',
    revision: '2025-11-25',
    scenario: 'server-sse-multiple-streams',
    checks: ['server-sse-streams-functional'],
    why: 'a program that says nothing before its result is answered for in JSON, which the revision leaves to the server',
  },
  {
    server: 'stdio',
    revision: '2025-11-25',
    scenario: 'server-sse-polling',
    checks: ['server-sse-priming-event', 'server-sse-retry-field', 'server-sse-disconnect-resume', 'incoming-sse-event', 'stream-closed'],
    why: 'stdio has no streams that could end early; resumption is a SHOULD of servers that have',
  },
]

let cluster: Cluster
let upstream: ConformanceUpstream
let token: string
const direct = new Map<string, Findings>()

if (!hasSuite) process.stderr.write('skipped: @modelcontextprotocol/conformance is not installed\n')

describe.skipIf(!hasSuite)('the official conformance suite', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    cluster = await startCluster()
    upstream = await startConformanceUpstream()
    await cluster.saveHttpApp('http', upstream.url)
    await cluster.saveStdioApp('stdio', process.execPath, [join(ROOT, 'test/conformance/upstream.ts')])
    await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['all'])
    token = await cluster.tokenOf('alice')
  }, 60_000)

  afterAll(async () => {
    await cluster?.close()
    await upstream?.close()
  })

  it.each(REVISIONS)('passes without the gateway for $revision', async ({ revision, scenarios }) => {
    const findings = await runSuite(upstream.url, revision)
    direct.set(revision, findings)
    report(`${revision} directly`, findings)
    expect(findings.size).toBe(scenarios)
    expect(passed(findings)).toEqual([...findings.keys()])
  })

  describe.each(['http', 'stdio'] as const)('through the gateway in front of a server over %s', (server) => {
    let gateway: BearerForwarder
    beforeAll(async () => {
      gateway = await startBearerForwarder(cluster.mcpUrl(server), token)
    })
    afterAll(async () => {
      await gateway?.close()
    })

    it.each(REVISIONS)('passes for $revision whatever passes without it', async ({ revision }) => {
      const findings = await runSuite(gateway.url, revision)
      report(`${revision} through the gateway over ${server}`, findings)
      const rows = DIFFERENCES.filter((row) => row.server === server && row.revision === revision)
      expect(worseThan(direct.get(revision) ?? new Map(), findings, rows)).toEqual([])
      expect([...findings.keys()]).toEqual([...(direct.get(revision)?.keys() ?? [])])
    })
  })
})
