import type { Invocation, OptionRow } from '../../lib/command-rows.ts'
import type { OutputFormat } from '../../lib/output.ts'

/** The flag of every command that prints a list or a thing. */
export const FORMAT: OptionRow = {
  flags: '-f, --format <format>',
  description: 'How to print',
  choices: ['text', 'json', 'yaml'],
  default: 'text',
}

/** What `--format` says; its choices are checked by then. */
export function formatOf(call: Invocation): OutputFormat {
  const format = call.text('format')
  return format === 'json' || format === 'yaml' ? format : 'text'
}
