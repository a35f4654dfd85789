import type { Invocation } from '../../lib/command-rows.ts'
import type { OutputFormat } from '../../lib/output.ts'

/** What `--format` says; its choices are checked by then. */
export function formatOf(call: Invocation): OutputFormat {
  const format = call.text('format')
  return format === 'json' || format === 'yaml' ? format : 'text'
}
