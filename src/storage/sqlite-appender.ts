import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { chainHash, genesisHash, renderChained } from '../audit/chain.ts'
import type { ChainedLines, Link } from '../audit/chain.ts'
import type { EventText } from '../audit/event-text.ts'
import { headSchema, NEWEST_EVENT, rowOf } from './event-appender.ts'
import type { EventAppender } from './event-appender.ts'
import { openConnection, toSqliteError } from './sqlite.ts'

/** Opens the file for appending to the chain of `cluster`; throws as `openSqlite` does. Blocks its thread while it appends. */
export function openSqliteAppender(file: string, cluster: string): EventAppender {
  const connection = openConnection(file)
  const insert = connection.prepare(INSERT)
  const newest = connection.prepare(NEWEST_EVENT)
  return {
    async append(events) {
      if (events.length === 0) return undefined
      try {
        return transact(connection, () => appendAll(events, insert, readHead(newest, cluster)))
      } catch (thrown) {
        throw toSqliteError(thrown)
      }
    },
    async close() {
      connection.close()
    },
  }
}

const INSERT = `insert into events (seq, uid, time, type, code, "user", server, tool, outcome, sid, prev_hash, hash, document)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (uid) do nothing`

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

function appendAll(events: readonly EventText[], insert: StatementSync, head: { seq: number; hash: string }): ChainedLines | undefined {
  let first: Link | undefined
  let last: Link = { ...head, prev: '' }
  let text = ''
  for (const event of events) {
    const link = { seq: last.seq + 1, prev: last.hash, hash: chainHash(last.hash, event.text) }
    if (!insertOne(insert, event, link)) continue
    last = link
    first ??= link
    text += `${renderChained(event.text, link)}\n`
  }
  return first && { first, last, bytes: new TextEncoder().encode(text) }
}

/** False when it is there already. */
function insertOne(insert: StatementSync, event: EventText, { seq, prev, hash }: Link): boolean {
  const { uid, time, type, code, user, server, tool, outcome, sid, document } = rowOf(event)
  return insert.run(seq, uid, time, type, code, user, server, tool, outcome, sid, prev, hash, document).changes === 1
}
