import type { Invocation, OptionRow } from './command-rows.ts'
import type { OutputFormat } from './output.ts'

/** The flag of a command that prints a list or a thing; each program has letters of its own for it. */
export const OUTPUT_FORMAT = {
  description: 'How to print',
  choices: ['text', 'json', 'yaml'],
  default: 'text',
} satisfies Omit<OptionRow, 'flags'>

/** What `--format` says; its choices are checked by then. */
export function formatOf(call: Invocation): OutputFormat {
  const format = call.text('format')
  return format === 'json' || format === 'yaml' ? format : 'text'
}
