import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ROOT, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually, within } from '../wait.ts'

const CLI = join(ROOT, 'node_modules/@modelcontextprotocol/conformance/dist/index.js')
const RUN_MS = 120_000

export const hasSuite = existsSync(CLI)

/** What runs of the suite's scenarios found: `scenario` → `check name` → finding. */
export type Findings = ReadonlyMap<string, ReadonlyMap<string, Finding>>

/** One check may be made several times. */
export interface Finding {
  /** The worst. */
  status: Status
  /** What the suite says, each time it did not succeed. */
  messages: string[]
  /** What it saw, each time, as JSON. */
  details: string[]
}

/** The worst first. */
const STATUSES = ['FAILURE', 'WARNING', 'SKIPPED', 'INFO', 'SUCCESS'] as const
export type Status = (typeof STATUSES)[number]

export function isWorse(status: Status, than: Status): boolean {
  return STATUSES.indexOf(status) < STATUSES.indexOf(than)
}

const checksSchema = z.array(
  z.object({
    id: z.string(),
    name: z.string(),
    status: z.enum(STATUSES),
    errorMessage: z.string().optional(),
    details: z.unknown().optional(),
  }),
)

/**
 * Runs all server scenarios of a revision against an endpoint.
 * @throws Error when the suite itself did not get to its end.
 */
export async function runSuite(url: string, revision: string): Promise<Findings> {
  return run(['server', '--url', url, '--suite', 'all', '--spec-version', revision])
}

/**
 * Runs server scenarios against an endpoint, `atATime` of them at a time, also such as stand for an extension and belong to no revision.
 * @throws Error when the suite itself did not get to its end.
 */
export async function runScenarios(url: string, scenarios: readonly string[], revision: string, atATime = 3): Promise<Findings> {
  const waiting = [...scenarios]
  const found = new Map<string, Findings>()
  const work = async (): Promise<void> => {
    for (let scenario = waiting.shift(); scenario !== undefined; scenario = waiting.shift())
      found.set(scenario, await run(['server', '--url', url, '--scenario', scenario, '--spec-version', revision, '--force']))
  }
  await Promise.all(Array.from({ length: atATime }, work))
  return new Map(scenarios.flatMap((scenario) => [...(found.get(scenario) ?? [])]))
}

/**
 * Has the suite start a client and judge what it sends to a server of the suite.
 * @param command of words without spaces; the URL of the server is appended.
 * @throws Error when the suite itself did not get to its end.
 */
export async function runClientScenario(command: string, scenario: string, revision: string): Promise<Findings> {
  return run(['client', '--command', command, '--scenario', scenario, '--spec-version', revision])
}

/**
 * Has the suite judge an authorization server as a client that is registered there and takes answers at a port of loopback.
 * @param visit what the person with the browser does with the address that the suite names; it has to end at the port.
 * @throws Error when the suite itself did not get to its end.
 */
export async function runAuthorization(
  issuer: string,
  { clientId, resource, port }: { clientId: string; resource: string; port: number },
  visit: (url: string) => Promise<void>,
): Promise<Findings> {
  return run(
    ['authorization', '--url', issuer, '--client-id', clientId, '--resource', resource, '--port', String(port)],
    async (stdout) => {
      await visit(await eventually('the address for the browser', () => /^http\S+\/oauth\/authorize\S+$/m.exec(stdout())?.[0]))
    },
  )
}

async function run(args: readonly string[], meanwhile: (stdout: () => string) => Promise<void> = async () => undefined): Promise<Findings> {
  const output = await temporaryDirectory()
  const program = startProgram(process.execPath, [CLI, ...args, '--output-dir', output.path])
  try {
    await meanwhile(() => program.stdout())
    const { code, stdout, stderr } = await within(`the conformance suite: ${args.join(' ')}`, program.ended, RUN_MS)
    // It ends with 1 when a check failed, after its summary: of several scenarios on standard output, of one on standard error.
    if ((code !== 0 && code !== 1) || !/^(?:Total: \d+ passed|Passed: \d+\/\d+)/m.test(stdout + stderr))
      throw new Error(`the conformance suite ended with ${code}: ${stderr}${stdout.slice(-2000)}`)
    return await readFindings(output.path)
  } finally {
    program.kill('SIGKILL')
    await output.dispose()
  }
}

async function readFindings(directory: string): Promise<Findings> {
  const findings = new Map<string, Map<string, Finding>>()
  for (const folder of (await readdir(directory)).toSorted()) {
    // `server-SCENARIO-TIME`, `authorization-server-SCENARIO-TIME`, `SCENARIO-TIME` for clients
    const scenario = folder.replace(/^(?:authorization-)?server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '')
    const checks = checksSchema.parse(JSON.parse(await readFile(join(directory, folder, 'checks.json'), 'utf8')))
    const found = new Map<string, Finding>()
    for (const { id, name, status, errorMessage, details } of checks) {
      const key = `${id} ${name}`
      const before: Finding = found.get(key) ?? { status: 'SUCCESS', messages: [], details: [] }
      const seen = JSON.stringify(details ?? null)
      const message = `${status}: ${errorMessage ?? ''} ${seen.slice(0, 600)}`
      found.set(key, {
        status: isWorse(status, before.status) ? status : before.status,
        messages: status === 'SUCCESS' ? before.messages : [...before.messages, message],
        details: [...before.details, seen],
      })
    }
    findings.set(scenario, found)
  }
  return findings
}
