import { command } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TctlIo } from './context.ts'
import { FORMAT } from './format.ts'

const FILTERS: readonly OptionRow[] = [
  { flags: '--user <name>', description: 'Only what this user did' },
  { flags: '--server <name>', description: 'Only at this MCP server' },
  { flags: '--tool <name>', description: 'Only calls of this tool' },
  { flags: '--type <event>', description: 'Only events of this type, such as mcp.session.request' },
  { flags: '--outcome <outcome>', description: 'Only events that ended so', choices: ['success', 'failure', 'denied', 'interrupted'] },
  { flags: '--from <time>', description: 'Not before: RFC 3339, or how long ago, such as 24h' },
  { flags: '--to <time>', description: 'Not after: the same' },
]

/** Commands over the audit log. */
export function addAuditCommands(program: Program, io: TctlIo): void {
  command(program, { path: 'audit', summary: 'What happened' })
  const limit: OptionRow = { flags: '--limit <count>', description: 'How many events at most', default: '50' }
  command(program, {
    path: 'audit ls',
    aliases: ['list'],
    summary: 'List the latest events',
    options: [...FILTERS, limit, FORMAT],
    examples: ['tctl audit ls --user=alice --from=24h --outcome=denied'],
    load: action(io, () => import('./audit-ls.ts')),
  })
  command(program, {
    path: 'audit search',
    summary: 'List the events that contain a text, or match a filter',
    arguments: [{ name: '[text]', description: 'The text; without: every event that the filters let through' }],
    options: [...FILTERS, limit, FORMAT],
    examples: ['tctl audit search --tool=echo --format=json', 'tctl audit search "laptop stolen"'],
    load: action(io, () => import('./audit-search.ts')),
  })
  command(program, {
    path: 'audit tail',
    summary: 'Show the newest events, and new ones as they come',
    options: [
      ...FILTERS,
      { ...limit, default: '10' },
      { flags: '-f, --follow', description: 'Wait for more until interrupted' },
      { ...FORMAT, choices: ['text', 'json'] },
    ],
    examples: ['tctl audit tail -f'],
    load: action(io, () => import('./audit-tail.ts')),
  })
  command(program, {
    path: 'audit export',
    summary: 'Write events as JSON lines, oldest first',
    options: [...FILTERS, { flags: '-o, --out <file>', description: 'Into this file, not to standard output' }],
    load: action(io, () => import('./audit-export.ts')),
  })
  command(program, {
    path: 'audit verify',
    summary: 'Prove that no event was changed, removed or added',
    arguments: [{ name: '[files...]', description: "JSON-lines files, in order; without: the cluster's whole log" }],
    options: [
      {
        flags: '--noted <seq:hash>',
        description: 'A last record noted earlier: it has to be there still, so that a log that was cut off is found out',
      },
      FORMAT,
    ],
    examples: ['tctl audit verify', 'tctl audit verify /var/lib/sallyport/audit/2026-11-21.jsonl'],
    load: action(io, () => import('./audit-verify.ts')),
  })
}
