// Run by spool-crash.test.ts: works on the spool of the given directory until it is killed. What it says on stdout was acknowledged.
import { appendFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createIds } from '../lib/ids.ts'
import { silentLogger } from '../lib/log.ts'
import type { AuditEvent } from './event.ts'
import type { OpenRecord } from './journal-writer.ts'
import { openSpool } from './spool.ts'

const directory = process.argv[2] ?? ''
const ids = createIds()
const spool = openSpool(join(directory, 'spool'), { segmentBytes: 8000, syncEveryMs: 5, log: silentLogger })
const open: OpenRecord[] = []
const say = (word: string, uid: string): number => writeSync(1, `${word} ${uid}\n`)

function newEvent(event: string): AuditEvent {
  return { event, code: 'x', time: new Date().toISOString(), uid: ids.uuidv7(), ei: 0, cluster_name: 'example', user: 'ana' }
}

async function store(events: AuditEvent[]): Promise<void> {
  appendFileSync(join(directory, 'store.jsonl'), events.map((event) => `${JSON.stringify(event)}\n`).join(''))
}

for (let round = 0; ; round += 1) {
  const started = Array.from({ length: 1 + (round % 3) }, () => newEvent('mcp.session.request'))
  const records = started.map((event) => spool.start(event.uid, JSON.stringify(event)))
  await spool.flushed()
  for (const [index, record] of records.entries()) {
    // Some calls stay open for good, over many segments.
    if (round % 7 !== 0 || index > 0) open.push(record)
    say('started', record.uid)
  }
  const ended = open.splice(0, 2)
  for (const record of ended) spool.end(record, JSON.stringify({ success: true, latency_ms: round }))
  const point = newEvent('user.login')
  spool.point(point)
  await spool.flushed()
  for (const { uid } of ended) say('ended', uid)
  say('point', point.uid)
  if (round % 20 === 0) await spool.drain(store, { batch: 50 })
  await new Promise((resolve) => setImmediate(resolve))
}
