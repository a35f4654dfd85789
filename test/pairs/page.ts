import { FEATURES } from './features.ts'
import { REVISIONS } from './outcome.ts'

export type Seen = (feature: string, client: string, server: string) => string

const OPENING = `# Revisions

<!-- Made by "WRITE_REFERENCE=1 npx vitest run test/pairs" from what the tests saw; the same tests fail when it is no longer true. -->

Every published revision of MCP, on the side of the client (rows) and of the server (columns). In these tests a client that speaks one revision
only, and is strict about it, calls through the gateway a server that speaks one revision only. The client of 2024-11-05 comes over HTTP+SSE and its server is
reached over HTTP+SSE; all others over Streamable HTTP.

- **works**: both are of the same era; what they say is passed on.
- **translated**: one has sessions and a handshake (2024-11-05 to 2025-11-25), the other is stateless (2026-07-28); the gateway says it in the other's words.
- **–**: the client's or the server's revision has no such thing.
- **refused**: with the reason given to the client, below the table.
`

/** The page about all pairs: a table for each feature at the URL of one server, and what is otherwise at the URL of all. */
export function renderPage(alone: Seen, amongAll: Seen): string {
  return [OPENING, ...FEATURES.map(({ name }) => renderFeature(name, alone)), renderAggregate(alone, amongAll)].join('\n')
}

const AGGREGATE = `## At \`/mcp\`

The same clients call the same servers through [the URL of all servers](../guides/one-url.md), with all five behind it at once.`

function renderAggregate(alone: Seen, amongAll: Seen): string {
  const differences = FEATURES.flatMap(({ name }) =>
    REVISIONS.flatMap((client) =>
      REVISIONS.flatMap((server) => {
        const [one, all] = [alone(name, client, server), amongAll(name, client, server)]
        return one === all ? [] : [`| ${name} | ${client} | ${server} | ${one} | ${all} |`]
      }),
    ),
  )
  if (differences.length === 0) return `${AGGREGATE} Every outcome is the one above.\n`
  const head = ['| | client | server | alone | at `/mcp` |', '| --- | --- | --- | --- | --- |']
  return [`${AGGREGATE} Every outcome is the one above but for these:\n`, ...head, ...differences, ''].join('\n')
}

function renderFeature(feature: string, seen: Seen): string {
  const reasons: string[] = []
  const cell = (client: string, server: string): string => {
    const outcome = seen(feature, client, server)
    if (outcome.startsWith('not in ')) return '–'
    if (!outcome.startsWith('refused: ')) return outcome
    const reason = outcome.slice('refused: '.length)
    if (!reasons.includes(reason)) reasons.push(reason)
    return `refused (${reasons.indexOf(reason) + 1})`
  }
  const rows = REVISIONS.map((client) => [client, ...REVISIONS.map((server) => cell(client, server))])
  const lines = [['client ↓ server →', ...REVISIONS], REVISIONS.map(() => '---').concat('---'), ...rows].map(
    (row) => `| ${row.join(' | ')} |`,
  )
  const notes = reasons.map((reason, index) => `${index + 1}. ${reason}`)
  return [`## ${feature[0]?.toUpperCase()}${feature.slice(1)}\n`, ...lines, '', ...(notes.length > 0 ? [...notes, ''] : [])].join('\n')
}
