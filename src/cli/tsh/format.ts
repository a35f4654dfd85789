import type { OptionRow } from '../../lib/command-rows.ts'
import { OUTPUT_FORMAT } from '../../lib/output-format.ts'

/** The flag of every command that prints a list or a thing. */
export const FORMAT: OptionRow = { ...OUTPUT_FORMAT, flags: '-f, --format <format>' }
