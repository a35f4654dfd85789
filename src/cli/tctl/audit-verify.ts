import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseChained, verifyChain } from '../../audit/chain.ts'
import type { ChainVerdict } from '../../audit/chain.ts'
import { fetchAllEvents } from '../../client/audit.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import type { Context } from './context.ts'

/** What the commands `doctor` and `lint` of others give when they found something. */
const FOUND_PROBLEMS = 7

/** Verifies here, by the lines alone: the Auth Service's word is not needed. A broken chain gives the exit code 7. */
export async function run({ call, io, withApi }: Context): Promise<number> {
  const files = call.rest('files')
  const noted = parseNoted(call.text('noted'))
  const verdict =
    files.length > 0 ? await verify(linesOf(files), noted) : await withApi((api) => verify(fetchAllEvents(api, { order: 'asc' }), noted))
  io.stdout.write(renderOutput(formatOf(call), verdict, renderVerdict))
  return verdict.ok ? 0 : FOUND_PROBLEMS
}

interface Noted {
  seq: number
  hash: string
}

/** `SEQ:HASH`, as an earlier run printed them. */
function parseNoted(text: string | undefined): Noted | undefined {
  if (text === undefined) return undefined
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  if (seq === undefined || hash === undefined)
    throw new AppError('invalid_argument', '--noted is SEQ:HASH, as tctl audit verify printed them')
  return { seq: Number(seq), hash }
}

/** A whole chain can still be one that was cut off or computed anew: then the noted record is missing, or another. */
async function verify(lines: AsyncIterable<string>, noted: Noted | undefined): Promise<ChainVerdict> {
  let isThere = false
  async function* watched(): AsyncGenerator<string> {
    for await (const line of lines) {
      if (noted && !isThere) {
        const record = parseChained(line)
        isThere = record?.seq === noted.seq && record.hash === noted.hash
      }
      yield line
    }
  }
  const verdict = await verifyChain(watched())
  if (!verdict.ok || !noted || isThere) return verdict
  const reason = `the record noted before, seq ${noted.seq}, is missing or another: the log was cut off or written anew`
  return { ...verdict, ok: false, firstBroken: { line: verdict.count + 1, seq: noted.seq, uid: undefined, reason } }
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
