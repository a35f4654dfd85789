import { renderRows, share, type Summary } from './report.ts'

/** What a figure should be: at least, or at most when `isCost`. */
export interface Goal {
  measure: string
  seen: number | undefined
  must: number
  goal: number
  isCost?: boolean
}

/** What the project has set itself, with what this run saw of it. */
export function goalsOf(summaries: readonly Summary[]): Goal[] {
  const find = (target: string, load: string, concurrency: number): Summary | undefined =>
    summaries.find((one) => one.target === target && one.load === load && one.concurrency === concurrency)
  const gateway = find('gateway', 'small', 16)
  const stdio = find('gateway-stdio', 'small', 16)
  const modernStdio = find('gateway-stdio-2026', 'small', 16)
  const large = summaries.find(({ target, load }) => target === 'gateway' && load === '1m')
  const middling = summaries.find(({ target, load }) => target === 'gateway' && load === '10k')
  return [
    { measure: 'calls/s of direct, 16 at a time', seen: gateway?.of['direct'], must: 0.45, goal: 0.6 },
    { measure: 'calls/s of the bare piped proxy, 16 at a time', seen: gateway?.of['pipe'], must: 1.4, goal: 1.9 },
    { measure: 'calls/s of a two-sided SDK relay', seen: gateway?.of['sdk-relay'], must: 8, goal: 12 },
    { measure: 'calls/s of mcp-proxy, stdio server', seen: stdio?.of['mcp-proxy'], must: 8, goal: 12 },
    { measure: 'calls/s of supergateway, stdio server', seen: stdio?.of['supergateway'], must: 8, goal: 12 },
    {
      measure: 'added p50, one at a time, of what the piped proxy adds',
      seen: find('gateway', 'small', 1)?.addedOfPipe ?? undefined,
      must: 1.3,
      goal: 0.85,
      isCost: true,
    },
    { measure: '10 KB answers: calls/s of direct', seen: middling?.of['direct'], must: 0.45, goal: 0.6 },
    { measure: '1 MB answers: calls/s of direct', seen: large?.of['direct'], must: 0.6, goal: 0.8 },
    { measure: 'tunnel: calls/s of direct, 16 at a time', seen: find('frames', 'small', 16)?.of['direct'], must: 0.4, goal: 0.6 },
    { measure: 'tunnel: calls/s of HTTP/2, 16 at a time', seen: find('frames', 'small', 16)?.of['http2'], must: 1.5, goal: 2.5 },
    {
      measure: 'tunnel: 1 MB answers, calls/s of direct, 16 at a time',
      seen: find('frames', '1m', 16)?.of['direct'],
      must: 0.5,
      goal: 0.7,
    },
    {
      measure: 'tunnel: calls/s beside a stalled reader, of those without',
      seen: find('frames-stalled', 'small', 16)?.of['frames'],
      must: 0.9,
      goal: 0.97,
    },
    { measure: 'stdio server: calls/s of a raw pipe behind node:http', seen: stdio?.of['raw-stdio'], must: 0.6, goal: 0.8 },
    { measure: 'the same in MCP 2026-07-28: one process, as there', seen: modernStdio?.of['raw-stdio'], must: 0.6, goal: 0.8 },
    { measure: 'the same in 2025-11-25, a process for each client there too', seen: stdio?.of['raw-stdio-each'], must: 0.6, goal: 0.8 },
  ]
}

export function renderGoals(goals: readonly Goal[]): string {
  const rows = goals.flatMap(({ measure, seen, must, goal, isCost = false }) => {
    if (seen === undefined) return []
    const meets = (bound: number): boolean => (isCost ? seen <= bound : seen >= bound)
    const verdict = meets(goal) ? 'goal met' : meets(must) ? 'must met' : 'not reached'
    return [[measure, share(seen), `${isCost ? '≤' : '≥'} ${must}`, `${isCost ? '≤' : '≥'} ${goal}`, verdict]]
  })
  return renderRows(['measure', 'seen', 'must', 'goal', 'verdict'], rows)
}
