import { hash as digest } from 'node:crypto'
import { z } from 'zod'

/** Where an event stands in the chain of its cluster. Hashes are SHA-256 in lower-case hex. */
export interface Link {
  /** From 1, without gaps. */
  seq: number
  prev: string
  hash: string
}

/** Lines that follow each other in the chain. */
export interface ChainedLines {
  first: Link
  last: Link
  /** In UTF-8, each with its line end; in memory of its own, to be handed from one thread to another. */
  bytes: Uint8Array<ArrayBuffer>
}

export interface ChainFault {
  /** From 1, blank lines counted. */
  line: number
  seq: number | undefined
  uid: string | undefined
  reason: string
}

export interface ChainVerdict {
  ok: boolean
  /** Records that were verified before the fault, or all. */
  count: number
  /** Where the records begin; above 1 the ones before are elsewhere (retention, an earlier file), which is no fault. */
  startsAt: number | undefined
  last: { seq: number; hash: string } | undefined
  firstBroken?: ChainFault
}

/** What the first event of a cluster has for a predecessor, so that chains of two clusters cannot be exchanged. */
export function genesisHash(cluster: string): string {
  return digest('sha256', `sallyport:${cluster}`)
}

/** @param text the exact JSON text of the event, as stored. */
export function chainHash(prev: string, text: string): string {
  return digest('sha256', `${prev}\n${text}`)
}

/** The event with its place in the chain as its last member: `{…,"chain":{"seq":N,"prev":"…","hash":"…"}}`. */
export function renderChained(text: string, { seq, prev, hash }: Link): string {
  return `${text.slice(0, -1)},"chain":{"seq":${seq},"prev":"${prev}","hash":"${hash}"}}`
}

const MARK = ',"chain":{'
const TAIL = /^,"chain":\{"seq":([1-9]\d{0,15}),"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}\}$/

/** Takes a rendered line apart again; undefined when it is none. `text` is byte for byte what was hashed. */
export function parseChained(line: string): (Link & { text: string }) | undefined {
  const at = line.lastIndexOf(MARK)
  const tail = at > 0 ? TAIL.exec(line.slice(at)) : null
  if (!tail) return undefined
  const [, seq = '', prev = '', hash = ''] = tail
  return { text: `${line.slice(0, at)}}`, seq: Number(seq), prev, hash }
}

/**
 * Verifies exported lines with nothing but the lines: finds records that were changed, removed from the middle, reordered, inserted
 * or repeated.
 * Lines cut off at the end, or a chain computed anew from some record on, show only against what is known from elsewhere:
 * give `expectLast` (head of the chain) and `expectFirst` (where the previous export ended) when you have them.
 */
export async function verifyChain(
  lines: AsyncIterable<string> | Iterable<string>,
  expected: { expectFirst?: { seq: number; prev: string }; expectLast?: { seq: number; hash: string } } = {},
): Promise<ChainVerdict> {
  const verdict: ChainVerdict = { ok: true, count: 0, startsAt: undefined, last: undefined }
  const broken = (line: number, text: string, seq: number | undefined, reason: string): ChainVerdict => ({
    ...verdict,
    ok: false,
    firstBroken: { line, seq, uid: readHead(text)?.uid, reason },
  })
  let number = 0
  for await (const line of lines) {
    number += 1
    if (line.trim() === '') continue
    const record = parseChained(line)
    if (!record) return broken(number, line, undefined, 'not a record of the chain')
    const fault = verdict.last ? checkNext(verdict.last, record) : checkFirst(record, expected.expectFirst)
    if (fault) return broken(number, record.text, record.seq, fault)
    if (chainHash(record.prev, record.text) !== record.hash)
      return broken(number, record.text, record.seq, 'the record was changed: its hash does not match')
    verdict.startsAt ??= record.seq
    verdict.last = { seq: record.seq, hash: record.hash }
    verdict.count += 1
  }
  const { expectLast } = expected
  if (expectLast && (verdict.last?.seq !== expectLast.seq || verdict.last.hash !== expectLast.hash))
    return broken(number, '', verdict.last?.seq, `the records do not end at seq ${expectLast.seq} with the expected hash`)
  return verdict
}

function checkNext(last: { seq: number; hash: string }, record: Link): string | undefined {
  if (record.seq <= last.seq) return `out of order: seq ${record.seq} after seq ${last.seq}`
  if (record.seq > last.seq + 1) return `missing: seq ${last.seq + 1} to ${record.seq - 1}`
  return record.prev === last.hash ? undefined : `does not follow seq ${last.seq}: its link to the previous record does not match`
}

function checkFirst(record: Link & { text: string }, expectFirst: { seq: number; prev: string } | undefined): string | undefined {
  if (expectFirst) {
    if (record.seq !== expectFirst.seq) return `expected seq ${expectFirst.seq} first`
    return record.prev === expectFirst.prev ? undefined : 'does not follow the record before it'
  }
  if (record.seq > 1) return undefined
  const cluster = readHead(record.text)?.cluster_name
  return cluster !== undefined && record.prev === genesisHash(cluster) ? undefined : 'is not the first record of its cluster'
}

const headSchema = z.object({ uid: z.string().optional(), cluster_name: z.string().optional() })

function readHead(text: string): z.infer<typeof headSchema> | undefined {
  try {
    return headSchema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined // not JSON: the fault is being reported already, this only names the record
  }
}
