import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { ROOT } from '../programs.ts'
import { type BearerForwarder, startBearerForwarder } from './bearer-forwarder.ts'
import { type Finding, type Findings, hasSuite, isWorse, runSuite } from './suite.ts'
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

interface Difference {
  server: 'http' | 'stdio'
  revision: string
  scenario: string
  /** Ids of checks. */
  checks: string[]
  why: string
}

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

/** Scenarios in which the suite notes down what the server said, and no ids or times of the transport. */
const CONTENT = /^(?:tools|prompts|resources|completion|elicitation|json-schema|caching|sep-2164)/

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

/** Every check that is worse in `findings`, or missing, or failed and new, or saw something else; with what the suite says about it. */
function worseThan(expected: Findings, findings: Findings, allowed: readonly Difference[]): string[] {
  return [...new Set([...expected.keys(), ...findings.keys()])].flatMap((scenario) => {
    const before = expected.get(scenario)
    const now = findings.get(scenario)
    return [...new Set([...(before?.keys() ?? []), ...(now?.keys() ?? [])])].flatMap((check) => {
      const found = now?.get(check)
      const wanted = before?.get(check)?.status ?? 'SKIPPED'
      const said = CONTENT.test(scenario) ? before?.get(check)?.details.join() : undefined
      if (found && !isWorse(found.status, wanted) && (said === undefined || said === found.details.join())) return []
      if (allowed.some((row) => row.scenario === scenario && row.checks.some((id) => check.startsWith(`${id} `)))) return []
      return [
        `${scenario}: ${check}: ${found?.messages.join('; ') ?? 'not made'} ${found?.details.join() ?? ''} instead of ${said ?? wanted}`,
      ]
    })
  })
}

function isPassed({ status }: Finding): boolean {
  return status !== 'FAILURE' && status !== 'WARNING'
}

function passed(findings: Findings): string[] {
  return [...findings].filter(([, checks]) => [...checks.values()].every(isPassed)).map(([scenario]) => scenario)
}

/** One line for the run, and one for each check that failed. */
function report(run: string, findings: Findings): void {
  const failed = [...findings].flatMap(([scenario, checks]) =>
    [...checks]
      .filter(([, finding]) => !isPassed(finding))
      .map(([check, { messages }]) => `  ${scenario}: ${check}: ${messages.join('; ')}\n`),
  )
  process.stdout.write(`conformance ${run}: ${passed(findings).length} of ${findings.size} scenarios\n${failed.join('')}`)
}
