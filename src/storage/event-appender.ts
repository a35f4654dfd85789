import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { z } from 'zod'
import { chainHash, genesisHash, renderChained } from '../audit/chain.ts'
import type { ChainedLines, Link } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { AppError } from '../lib/errors.ts'
import { openConnection, toStoreError } from './database.ts'

/** Appends events over a connection of its own, at a fraction of what `appendEvents` costs; blocks its thread while it does. */
export interface EventAppender {
  /**
   * Like `appendEvents`: all or none, in order, passing over those that are there by uid. What was new, or undefined. Throws
   * `invalid_argument` when one of them is no event that the store can keep.
   */
  append(events: readonly AuditEvent[]): ChainedLines | undefined
  close(): void
}

/** Opens the store for appending to the chain of `cluster`; throws as `openDatabase` does. */
export function openEventAppender(file: string, cluster: string): EventAppender {
  const connection = openConnection(file)
  const insert = connection.prepare(INSERT)
  const newest = connection.prepare(NEWEST)
  return {
    append(events) {
      if (events.length === 0) return undefined
      try {
        return transact(connection, () => appendAll(events, insert, readHead(newest, cluster)))
      } catch (thrown) {
        throw toStoreError(thrown)
      }
    },
    close: () => connection.close(),
  }
}

const INSERT = `insert into events (seq, uid, time, type, code, "user", server, tool, outcome, sid, prev_hash, hash, document)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (uid) do nothing`
/** The newest event, or where the chain was cut when all are forgotten. */
const NEWEST =
  'select seq, hash from (select * from (select seq, hash from events order by seq desc limit 1) union select seq, hash from event_anchor) order by seq desc limit 1'

const headSchema = z.object({ seq: z.number(), hash: z.string() })

function readHead(newest: StatementSync, cluster: string): { seq: number; hash: string } {
  const row = newest.get()
  return row === undefined ? { seq: 0, hash: genesisHash(cluster) } : headSchema.parse(row)
}

function transact<T>(connection: DatabaseSync, work: () => T): T {
  // The write lock at once, so that the head is that of the last writer, whoever it was.
  connection.exec('begin immediate')
  try {
    const result = work()
    connection.exec('commit')
    return result
  } catch (thrown) {
    if (connection.isTransaction) connection.exec('rollback')
    throw thrown
  }
}

function appendAll(events: readonly AuditEvent[], insert: StatementSync, head: { seq: number; hash: string }): ChainedLines | undefined {
  let first: Link | undefined
  let last: Link = { ...head, prev: '' }
  let text = ''
  for (const event of events) {
    const document = JSON.stringify(event)
    const link = { seq: last.seq + 1, prev: last.hash, hash: chainHash(last.hash, document) }
    if (!insertOne(insert, event, link, document)) continue
    last = link
    first ??= link
    text += `${renderChained(document, link)}\n`
  }
  return first && { first, last, text }
}

/** False when it is there already. */
function insertOne(insert: StatementSync, event: AuditEvent, { seq, prev, hash }: Link, document: string): boolean {
  const { uid, code } = event
  const time = Date.parse(event.time)
  const named = [event.user, event.server, event.tool, event.outcome, event.sid]
  const isSound = typeof code === 'string' && !Number.isNaN(time) && named.every((one) => one === undefined || typeof one === 'string')
  if (!isSound) throw new AppError('invalid_argument', `audit event ${uid} has no readable time, code or names`)
  const [user = null, server = null, tool = null, outcome = null, sid = null] = named
  return insert.run(seq, uid, time, event.event, code, user, server, tool, outcome, sid, prev, hash, document).changes === 1
}
