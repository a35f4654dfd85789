/** From the most to the least verbose (RFC 5424, as every revision of MCP names them). */
const LEVELS: readonly unknown[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export function isLevel(value: unknown): value is string {
  return LEVELS.includes(value)
}

/** The level that lets through what any of them asks for; undefined for none. */
export function mostVerbose(levels: readonly string[]): string | undefined {
  return levels.toSorted((a, b) => LEVELS.indexOf(a) - LEVELS.indexOf(b))[0]
}

/** Whether a message of `level` is meant for somebody who asked for `wanted` and above. */
export function isWanted(level: unknown, wanted: string): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(wanted)
}
