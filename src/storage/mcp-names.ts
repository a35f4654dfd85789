import { foldName, isNameable, proposeNames } from '../lib/exposed-name.ts'
import { transact } from './database.ts'
import type { Executor } from './database.ts'

export type NamedKind = 'tool' | 'prompt'

/** More tools or prompts than that of one server get no name: its names are kept for good, and it could make up new ones for ever. */
const MAX_PER_SERVER = 5000

/** Which originals of one server are meant; `maxPerServer` for tests. */
export interface NameRequest {
  what: NamedKind
  server: string
  originals: readonly string[]
  /** Milliseconds since 1970. */
  now: number
  maxPerServer?: number
}

/**
 * The exposed names of a server's tools or prompts, in the order asked; whoever has none yet is given one, and keeps it for good. Null for one
 * that cannot have a name, or comes after the most names a server may have.
 */
export function assignNames(db: Executor, request: NameRequest): Promise<(string | null)[]> {
  const { what, server, originals, now, maxPerServer = MAX_PER_SERVER } = request
  return transact(db, async (tx) => {
    const known = await namesOf(tx, what, server)
    const exposed: (string | null)[] = []
    for (const original of originals) {
      let name = known.get(original) ?? null
      if (name === null && known.size < maxPerServer && isNameable(original)) {
        name = await insertName(tx, { what, server, original, now })
        if (name !== null) known.set(original, name)
      }
      exposed.push(name)
    }
    return exposed
  })
}

/** What an exposed name, letter for letter, stands for. */
export async function findName(db: Executor, what: NamedKind, exposed: string): Promise<{ server: string; original: string } | undefined> {
  const row = await db
    .selectFrom('mcp_names')
    .select(['server', 'original', 'exposed'])
    .where('what', '=', what)
    .where('folded', '=', foldName(exposed))
    .executeTakeFirst()
  return row?.exposed === exposed ? { server: row.server, original: row.original } : undefined
}

async function namesOf(tx: Executor, what: NamedKind, server: string): Promise<Map<string, string>> {
  const rows = await tx
    .selectFrom('mcp_names')
    .select(['original', 'exposed'])
    .where('what', '=', what)
    .where('server', '=', server)
    .execute()
  return new Map(rows.map(({ original, exposed }) => [original, exposed]))
}

/** The first proposed name that nobody has. */
async function insertName(
  tx: Executor,
  { what, server, original, now }: { what: NamedKind; server: string; original: string; now: number },
): Promise<string | null> {
  for (const exposed of proposeNames(server, original)) {
    const row = await tx
      .insertInto('mcp_names')
      .values({ what, server, original, exposed, folded: foldName(exposed), created_at: now })
      .onConflict((conflict) => conflict.columns(['what', 'folded']).doNothing())
      .returning('exposed')
      .executeTakeFirst()
    if (row) return row.exposed
  }
  return null
}
