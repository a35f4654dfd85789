import { AppError } from '../lib/errors.ts'
import type { Labels } from '../resources/envelope.ts'
import type { McpSet } from '../resources/mcp-set.ts'
import { settle } from './conditions.ts'
import { compileSelector } from './labels.ts'
import { compileMatcher, type Matcher, matchesAny } from './match.ts'

/** What an `mcp_set` shows of what its caller may use anyway. */
export interface SetSelection {
  includesServer(name: string, labels: Labels): boolean
  /** Absent: every tool of its servers. */
  includesTool?(server: string, tool: string): boolean
}

/** The set, ready to be asked often; a pattern that cannot be evaluated includes nothing and excludes everything. Never throws. */
export function compileSet({ spec }: McpSet): SetSelection {
  const { labels = {}, names = [] } = spec.servers
  const matchesLabels = compileSelector(labels)
  const listed = new Set(names)
  const includesServer = (name: string, own: Labels): boolean => listed.has(name) || settle(false, () => matchesLabels(own)).holds
  const { include, exclude = [] } = spec.tools ?? {}
  if (include === undefined && exclude.length === 0) return { includesServer }
  const included = include?.map(compileToolMatcher)
  const excluded = exclude.map(compileToolMatcher)
  return {
    includesServer,
    includesTool: (server, tool) => {
      const ask = (matchers: readonly ToolMatcher[]): boolean =>
        matchesAny(
          matchers.map((matches) => () => matches(server, tool)),
          '',
        )
      if (settle(true, () => ask(excluded)).holds) return false
      return included === undefined || settle(false, () => ask(included)).holds
    },
  }
}

/** Patterns of a set that parse but will not work: one sentence each with its place. */
export function findSetFaults({ spec }: McpSet): string[] {
  const places = [
    ['spec.servers.labels', Object.values(spec.servers.labels ?? {}).flat(), compileMatcher],
    ['spec.tools.include', spec.tools?.include ?? [], tryToolMatcher],
    ['spec.tools.exclude', spec.tools?.exclude ?? [], tryToolMatcher],
  ] as const
  return places.flatMap(([place, patterns, compile]) =>
    patterns.flatMap((pattern) => {
      try {
        compile(pattern)
        return []
      } catch (thrown) {
        if (thrown instanceof AppError) return [`${place}: ${thrown.message}`]
        throw thrown
      }
    }),
  )
}

type ToolMatcher = (server: string, tool: string) => boolean

/** Never throws itself: a bad pattern throws when it is asked. */
function compileToolMatcher(pattern: string): ToolMatcher {
  try {
    return tryToolMatcher(pattern)
  } catch (fault) {
    return () => {
      throw fault
    }
  }
}

/** `TOOL` or `SERVER/TOOL`; names of servers have no slash. A regular expression as a whole speaks of the tool. @throws AppError for a bad pattern. */
function tryToolMatcher(pattern: string): ToolMatcher {
  const slash = pattern.startsWith('^') && pattern.endsWith('$') ? -1 : pattern.indexOf('/')
  const matchesTool = compileMatcher(pattern.slice(slash + 1))
  const matchesServer: Matcher | undefined = slash === -1 ? undefined : compileMatcher(pattern.slice(0, slash))
  return (server, tool) => (matchesServer?.(server) ?? true) && matchesTool(tool)
}
