import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../programs.ts'
import { type Findings, hasSuite, runClientScenario } from './suite.ts'

// The other way round: the suite is the MCP server, and judges what an official client sends to it, alone and through a gateway that is
// started in front of it for each scenario. What it grants the client alone it has to grant the two together.

const SCENARIOS = [
  ['initialize', '2025-11-25'],
  ['tools_call', '2025-06-18'],
  ['tools_call', '2025-11-25'],
  ['tools_call', '2026-07-28'],
  ['elicitation-sep1034-client-defaults', '2025-11-25'],
  ['sse-retry', '2025-11-25'],
  ['json-schema-2020-12-preservation', '2025-11-25'],
  ['json-schema-2020-12-preservation', '2026-07-28'],
  ['json-schema-ref-no-deref', '2026-07-28'],
  ['request-metadata', '2026-07-28'],
  ['sep-2322-client-request-state', '2026-07-28'],
  ['http-standard-headers', '2026-07-28'],
  ['http-custom-headers', '2026-07-28'],
  ['http-invalid-tool-headers', '2026-07-28'],
] as const

const command = (way: 'direct' | 'gateway'): string => `${process.execPath} ${join(ROOT, 'test/fakes/conformance-client.ts')} ${way}`

describe.skipIf(!hasSuite)('the official conformance suite about clients', { timeout: 120_000 }, () => {
  it.each(SCENARIOS)('%s in %s passes through the gateway as it does without', async (scenario, revision) => {
    const [alone, together] = await Promise.all([
      runClientScenario(command('direct'), scenario, revision),
      runClientScenario(command('gateway'), scenario, revision),
    ])
    expect(granted(alone).length).toBeGreaterThan(0)
    expect(failed(alone)).toEqual([])
    expect(failed(together)).toEqual([])
    expect(granted(together)).toEqual(granted(alone))
  })
})

/** Checks that succeeded; what the suite only notes down differs with the wire. */
function granted(findings: Findings): string[] {
  return checksOf(findings)
    .filter(([, { status }]) => status === 'SUCCESS')
    .map(([check]) => check)
    .toSorted()
}

function failed(findings: Findings): string[] {
  return checksOf(findings)
    .filter(([, { status }]) => status === 'FAILURE' || status === 'WARNING')
    .map(([check, { messages }]) => `${check}: ${messages.join('; ')}`)
}

function checksOf(findings: Findings) {
  return [...findings.values()].flatMap((checks) => [...checks])
}
