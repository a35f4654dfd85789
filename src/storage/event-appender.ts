import { z } from 'zod'
import type { ChainedLines } from '../audit/chain.ts'
import type { EventText } from '../audit/event-text.ts'
import type { Tables } from './tables.ts'

/** Appends events over a connection of its own, at a fraction of what `appendEvents` costs. */
export interface EventAppender {
  /** Like `appendEvents`: all or none, in order, passing over those that are there by uid. What was new, or undefined. One call at a time. */
  append(events: readonly EventText[]): Promise<ChainedLines | undefined>
  close(): Promise<void>
}

/** The newest event, or where the chain was cut when all are forgotten; no row where there never was one. */
export const NEWEST_EVENT = `select seq, hash from (
    select * from (select seq, hash from events order by seq desc limit 1) newest union select seq, hash from event_anchor
  ) heads order by seq desc limit 1`

export const headSchema = z.object({ seq: z.number(), hash: z.string() })

/** What is stored of an event beside its place in the chain. */
export function rowOf({ uid, time, type, code, text, ...names }: EventText): Omit<Tables['events'], 'seq' | 'prev_hash' | 'hash'> {
  return { uid, time, type, code, ...searchable(names), document: text }
}

type Named = Pick<Tables['events'], 'user' | 'server' | 'tool' | 'outcome' | 'sid'>
/** An entry of an index of PostgreSQL has 2.7 kB at most. */
const MAX_USER = 600

/** Names by which events are found, as both stores keep them: callers choose theirs, and agents what they report. */
export function searchable({ user, server, tool, outcome, sid }: { [Name in keyof Named]?: string | null | undefined }): Named {
  return {
    user: withoutNul(user)?.slice(0, MAX_USER) ?? null,
    server: withoutNul(server) ?? null,
    tool: withoutNul(tool) ?? null,
    outcome: withoutNul(outcome) ?? null,
    sid: withoutNul(sid) ?? null,
  }
}

function withoutNul(text: string | null | undefined): string | null | undefined {
  return text?.includes('\0') ? text.replaceAll('\0', '\ufffd') : text
}
