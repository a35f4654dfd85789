import type { Client, QueryResultRow } from 'pg'
import { z } from 'zod'
import { chainHash, genesisHash, renderChained } from '../audit/chain.ts'
import type { ChainedLines, Link } from '../audit/chain.ts'
import { headSchema, NEWEST_EVENT, rowOf } from './event-appender.ts'
import type { EventAppender } from './event-appender.ts'
import { BEGIN_WRITING, connect, endClient } from './postgres.ts'
import { parseConnString } from './postgres-address.ts'
import { isLost, toPostgresError } from './postgres-errors.ts'
import type { Tables } from './tables.ts'

/** Connects when there is something to append, and again after the connection was lost; throws for a connection string that is none. */
export function openPostgresAppender(connString: string, cluster: string): EventAppender {
  const address = parseConnString(connString)
  let client: Client | undefined
  return {
    async append(events) {
      if (events.length === 0) return undefined
      const rows = events.map(rowOf)
      try {
        client ??= await connect(address)
        return await appendAll(client, rows, cluster)
      } catch (cause) {
        if (client && isLost(cause)) {
          void endClient(client)
          client = undefined
        }
        throw toPostgresError(cause)
      }
    },
    async close() {
      if (client) await endClient(client)
    },
  }
}

type Row = Omit<Tables['events'], 'seq' | 'prev_hash' | 'hash'>

/** In one transaction that no other writer of this store runs beside, so that it is one chain, whoever adds to it. */
async function appendAll(client: Client, events: readonly Row[], cluster: string): Promise<ChainedLines | undefined> {
  try {
    await client.query(BEGIN_WRITING)
    const known = await findKnown(client, events)
    const head = (await client.query<QueryResultRow>(NEWEST_EVENT)).rows[0]
    const linked = linkAll(events, known, head === undefined ? { seq: 0, hash: genesisHash(cluster) } : headSchema.parse(head))
    if (linked.length > 0)
      await client.query(
        INSERT,
        COLUMNS.map((column) => linked.map((row) => row[column])),
      )
    await client.query('commit')
    return renderLines(linked)
  } catch (thrown) {
    // Also when only the lock was not to be had: the transaction had begun by then.
    if (!isLost(thrown)) await client.query('rollback')
    throw thrown
  }
}

const COLUMNS = ['seq', 'uid', 'time', 'type', 'code', 'user', 'server', 'tool', 'outcome', 'sid', 'prev_hash', 'hash', 'document'] as const
const INSERT = `insert into events (${COLUMNS.map((column) => `"${column}"`).join(', ')})
  select * from unnest(${COLUMNS.map((column, index) => `$${index + 1}::${column === 'seq' || column === 'time' ? 'bigint' : 'text'}[]`).join(', ')})`

const uidsSchema = z.array(z.object({ uid: z.string() }))

/** A batch can be repeated: those that came the first time are there. */
async function findKnown(client: Client, events: readonly Row[]): Promise<Set<string>> {
  const { rows } = await client.query<QueryResultRow>('select uid from events where uid = any($1::text[])', [events.map(({ uid }) => uid)])
  return new Set(uidsSchema.parse(rows).map(({ uid }) => uid))
}

function linkAll(events: readonly Row[], known: Set<string>, head: { seq: number; hash: string }): Tables['events'][] {
  const linked: Tables['events'][] = []
  let { seq, hash } = head
  for (const event of events) {
    if (known.has(event.uid)) continue
    known.add(event.uid)
    seq += 1
    const prev = hash
    hash = chainHash(prev, event.document)
    linked.push({ seq, ...event, prev_hash: prev, hash })
  }
  return linked
}

function renderLines(rows: readonly Tables['events'][]): ChainedLines | undefined {
  const links = rows.map(({ seq, prev_hash, hash }): Link => ({ seq, prev: prev_hash, hash }))
  const [first, last] = [links[0], links.at(-1)]
  return (
    first &&
    last && {
      first,
      last,
      bytes: new TextEncoder().encode(rows.map(({ document }, index) => `${renderChained(document, links[index] ?? first)}\n`).join('')),
    }
  )
}
