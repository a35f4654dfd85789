import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually } from '../../../test/wait.ts'
import { buildEvent } from '../../audit/build-event.ts'
import { openSpool, type Shipping, type Spool } from '../../audit/spool.ts'
import type { ApiClient } from '../../client/call.ts'
import { AppError } from '../../lib/errors.ts'
import { createIds } from '../../lib/ids.ts'
import { silentLogger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import { shipToAuthService } from './remote-shipping.ts'

const BUILD = { ids: createIds(), now: () => 1_801_396_800_000, cluster: 'test', redactor: createRedactor() }

let directory = ''
let spool: Spool
let shipping: Shipping | undefined
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'remote-shipping-'))
  spool = openSpool(directory, { log: silentLogger })
})
afterEach(async () => {
  await shipping?.close()
  await spool.close()
  rmSync(directory, { recursive: true, force: true })
})

/** The Auth Service: keeps what it takes, by uid, and refuses as it is told. */
function store(refuse: (names: string[]) => AppError | undefined) {
  const taken = new Map<string, string>()
  let calls = 0
  const api: ApiClient = (row, input) => {
    calls += 1
    const { events } = row.input.parse(input) as { events: { uid: string; name: string }[] }
    const fault = refuse(events.map(({ name }) => name))
    for (const { uid, name } of fault ? [] : events) taken.set(uid, name)
    return fault ? Promise.reject(fault) : Promise.resolve(row.output.parse({ stored: events.length }) as never)
  }
  return { api, names: () => [...taken.values()], calls: () => calls }
}

function record(...names: string[]): void {
  for (const name of names) spool.point(buildEvent('access.denied', { name, kind: 'x', verb: 'use', success: false }, BUILD))
  void spool.flushed()
}

test('an event that is refused for its content is set aside, and the others arrive in order', async () => {
  const auth = store((names) => (names.includes('bad') ? new AppError('invalid_argument', 'not like this') : undefined))
  record('one', 'bad', 'two')
  shipping = shipToAuthService(spool, auth.api, silentLogger)
  await eventually('two events', () => auth.names().length === 2 || undefined)
  expect(auth.names()).toEqual(['one', 'two'])
  const [aside = ''] = readdirSync(directory).filter((name) => name.startsWith('corrupt-'))
  expect(readFileSync(join(directory, aside), 'utf8')).toContain('"bad"')
})

test('what the Auth Service cannot take now, or not from this certificate, is sent again until it is taken', async () => {
  const faults = [
    new AppError('unavailable', 'down'),
    new AppError('unauthenticated', 'expired'),
    new AppError('permission_denied', 'locked'),
  ]
  const auth = store(() => faults.shift())
  record('one', 'two')
  shipping = shipToAuthService(spool, auth.api, silentLogger)
  await eventually('both events', () => auth.names().length === 2 || undefined)
  expect(auth.names()).toEqual(['one', 'two'])
  expect(auth.calls()).toBeGreaterThanOrEqual(4)
})

test('what could not be sent before the end is sent after the next start', async () => {
  const down = store(() => new AppError('unavailable', 'down'))
  record('one')
  shipping = shipToAuthService(spool, down.api, silentLogger)
  await eventually('a try', () => down.calls() > 0 || undefined)
  await shipping.close()
  await spool.close()
  spool = openSpool(directory, { log: silentLogger })
  const up = store(() => undefined)
  shipping = shipToAuthService(spool, up.api, silentLogger)
  await eventually('the event', () => up.names().length === 1 || undefined)
  expect(up.names()).toEqual(['one'])
})
