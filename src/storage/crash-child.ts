// Run by database.test.ts: writes to the given store until it is killed. What it says on stdout was acknowledged.
import { writeSync } from 'node:fs'
import type { AuditEvent } from '../audit/event.ts'
import { parseResource } from '../resources/registry.ts'
import { silentLogger } from '../lib/log.ts'
import { appendEvents } from './events.ts'
import { createResource, deleteResource } from './resources.ts'
import { openStore } from './store.ts'

const [, , type, at = '', run = ''] = process.argv
const db = await openStore({ type: type === 'postgresql' ? type : 'sqlite', at }, silentLogger)

for (let round = 0; ; round += 1) {
  const name = `${run}-${round}`
  await createResource(
    db,
    'lock',
    parseResource('lock', { kind: 'lock', version: 'v2', metadata: { name }, spec: { target: { user: 'eve' } } }),
    0,
  )
  writeSync(1, `created ${name}\n`)
  if (round % 3 === 0) {
    await deleteResource(db, 'lock', name, 0)
    writeSync(1, `deleted ${name}\n`)
  }
  const events = [0, 1, 2].map((index): AuditEvent => ({
    event: 'user.login',
    code: 'T1000I',
    time: '2026-01-02T03:04:05.678Z',
    uid: `${name}-${index}`,
    ei: 0,
    cluster_name: 'example',
  }))
  await appendEvents(db, events, 'example')
  writeSync(1, `appended ${name}\n`)
}
