import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { ROOT } from '../programs.ts'
import { startBearerForwarder } from './bearer-forwarder.ts'
import { passed, report, worseThan } from './compare.ts'
import { type Findings, hasSuite, runScenarios } from './suite.ts'
import { type ConformanceUpstream, startConformanceUpstream } from './upstream.ts'

// What the official suite has about extensions: tools that run as tasks, and skills. What it grants the server it has to grant the gateway.

const SKILLS = ['sep-2640-skills-directory', 'sep-2640-skills-enumeration', 'sep-2640-skills-manifest']
const TASKS = [
  'tasks-lifecycle',
  'tasks-capability-negotiation',
  'tasks-wire-fields',
  'tasks-request-state-removal',
  'tasks-mrtr-input',
  'tasks-request-headers',
  'tasks-dispatch-and-envelope',
  'tasks-status-notifications',
  'tasks-required-task-error',
  'tasks-mrtr-composition',
]

const RUNS = [
  { name: 'skills', revision: '2025-11-25', scenarios: SKILLS },
  { name: 'skills', revision: '2026-07-28', scenarios: SKILLS },
  { name: 'tasks', revision: '2026-07-28', scenarios: TASKS },
] as const

let cluster: Cluster
let upstream: ConformanceUpstream
let token: string
const direct = new Map<string, Findings>()

describe.skipIf(!hasSuite)('the official conformance suite about extensions', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    cluster = await startCluster()
    upstream = await startConformanceUpstream()
    const program = join(ROOT, 'test/conformance/upstream.ts')
    await cluster.saveHttpApp('http-skills', upstream.url)
    await cluster.saveHttpApp('http-tasks', upstream.tasksUrl)
    await cluster.saveStdioApp('stdio-skills', process.execPath, [program])
    await cluster.saveStdioApp('stdio-tasks', process.execPath, [program, 'tasks'])
    await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['all'])
    token = await cluster.tokenOf('alice')
  }, 60_000)

  afterAll(async () => {
    await cluster?.close()
    await upstream?.close()
  })

  it.each(RUNS)('passes without the gateway: $name in $revision', async ({ name, revision, scenarios }) => {
    const findings = await runScenarios(name === 'tasks' ? upstream.tasksUrl : upstream.url, scenarios, revision)
    direct.set(`${name} ${revision}`, findings)
    report(`${name} in ${revision} directly`, findings)
    expect(passed(findings).toSorted()).toEqual(scenarios.toSorted())
  })

  describe.each(['http', 'stdio'] as const)('through the gateway in front of a server over %s', (server) => {
    it.each(RUNS)('passes whatever passes without it: $name in $revision', async ({ name, revision, scenarios }) => {
      const gateway = await startBearerForwarder(cluster.mcpUrl(`${server}-${name}`), token)
      try {
        const findings = await runScenarios(gateway.url, scenarios, revision)
        report(`${name} in ${revision} through the gateway over ${server}`, findings)
        expect(worseThan(direct.get(`${name} ${revision}`) ?? new Map(), findings, [])).toEqual([])
        expect(passed(findings).toSorted()).toEqual(scenarios.toSorted())
      } finally {
        await gateway.close()
      }
    })
  })
})
