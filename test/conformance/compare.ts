import { type Finding, type Findings, isWorse } from './suite.ts'

/** Something that may turn out worse through the gateway. */
export interface Difference {
  server: 'http' | 'stdio'
  revision: string
  scenario: string
  /** Ids of checks. */
  checks: string[]
  why: string
}

/** Scenarios in which the suite notes down what the server said, and no ids or times of the transport. */
const CONTENT = /^(?:tools|prompts|resources|completion|elicitation|json-schema|caching|sep-2164|sep-2640)/

/** Every check that is worse in `findings`, or missing, or failed and new, or saw something else; with what the suite says about it. */
export function worseThan(expected: Findings, findings: Findings, allowed: readonly Difference[]): string[] {
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

export function passed(findings: Findings): string[] {
  return [...findings].filter(([, checks]) => [...checks.values()].every(isPassed)).map(([scenario]) => scenario)
}

/** One line for the run, and one for each check that failed. */
export function report(run: string, findings: Findings): void {
  const failed = [...findings].flatMap(([scenario, checks]) =>
    [...checks]
      .filter(([, finding]) => !isPassed(finding))
      .map(([check, { messages }]) => `  ${scenario}: ${check}: ${messages.join('; ')}\n`),
  )
  process.stdout.write(`conformance ${run}: ${passed(findings).length} of ${findings.size} scenarios\n${failed.join('')}`)
}
