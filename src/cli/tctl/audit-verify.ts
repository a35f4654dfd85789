import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { verifyChain } from '../../audit/chain.ts'
import type { ChainVerdict } from '../../audit/chain.ts'
import { fetchAllEvents } from '../../client/audit.ts'
import { AppError } from '../../lib/errors.ts'
import { renderOutput } from '../../lib/output.ts'
import type { Context } from './context.ts'
import { formatOf } from './format.ts'

/** What the commands `doctor` and `lint` of others give when they found something. */
const FOUND_PROBLEMS = 7

/** Verifies here, by the lines alone: the Auth Service's word is not needed. A broken chain gives the exit code 7. */
export async function run({ call, io, withApi }: Context): Promise<number> {
  const files = call.rest('files')
  const verdict =
    files.length > 0 ? await verifyChain(linesOf(files)) : await withApi((api) => verifyChain(fetchAllEvents(api, { order: 'asc' })))
  io.stdout.write(renderOutput(formatOf(call), verdict, renderVerdict))
  return verdict.ok ? 0 : FOUND_PROBLEMS
}

function renderVerdict({ ok, count, startsAt, firstBroken, last }: ChainVerdict): string {
  if (!ok && firstBroken) {
    const record = firstBroken.uid === undefined ? '' : ` (event ${firstBroken.uid})`
    return `BROKEN at line ${firstBroken.line}${firstBroken.seq === undefined ? '' : `, seq ${firstBroken.seq}`}${record}: ${firstBroken.reason}\n${count} events before it are intact.`
  }
  if (count === 0) return 'There are no events.'
  const start = startsAt === undefined || startsAt === 1 ? '' : ` The records start at seq ${startsAt}: earlier ones are elsewhere.`
  return `OK: ${count} events are intact.${start}\nLast: seq ${last?.seq}, hash ${last?.hash}`
}

async function* linesOf(files: readonly string[]): AsyncGenerator<string> {
  for (const file of files) {
    try {
      yield* createInterface({ input: createReadStream(file), crlfDelay: Infinity })
    } catch (cause) {
      throw new AppError('not_found', `cannot read ${file}`, { cause })
    }
  }
}
