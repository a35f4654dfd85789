import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'

const MIN_IDLE_MS = 10_000
const MAX_IDLE_MS = 24 * 3_600_000

const idleTimeout = z.string().refine((text) => {
  const ms = findDuration(text)
  return ms !== undefined && ms >= MIN_IDLE_MS && ms <= MAX_IDLE_MS
}, 'must be a duration from 10s to 24h')

/** `mcp_limits` in a section of sallyport.yaml. */
export function mcpLimitsSchema(where: string) {
  return z
    .strictObject({
      sessions: z
        .int()
        .min(1)
        .max(100_000)
        .default(20_000)
        .describe(`MCP sessions of all callers ${where}; one with its stream takes about 17 KB.`),
      sessions_per_user: z
        .int()
        .min(1)
        .max(10_000)
        .default(64)
        .describe(`MCP sessions of one caller ${where}; beyond that the longest idle one ends, or a new one is refused.`),
      idle_timeout: idleTimeout.default('5m').describe('A session that is unused for so long ends; an open stream is use.'),
    })
    .prefault({})
    .describe(`How many MCP sessions there may be ${where}.`)
}

export type McpLimits = z.output<ReturnType<typeof mcpLimitsSchema>>

/** Milliseconds of `idle_timeout`. */
export function idleMsOf({ idle_timeout }: McpLimits): number {
  return findDuration(idle_timeout) ?? MIN_IDLE_MS
}
