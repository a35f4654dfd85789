import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Database } from '../../../storage/database.ts'
import { openSqlite } from '../../../storage/sqlite.ts'
import { beginFlow, endFlow, flowCookiesIn } from './flow.ts'

const FLOW = {
  connector: 'corp',
  revision: '1',
  redirect_uri: 'https://proxy.example.com/v1/webapi/oidc/callback',
  purpose: { type: 'account' as const },
}

let folder: string
let clock: { now: number }
let db: Database
let context: Parameters<typeof beginFlow>[0]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-flow-'))
  clock = { now: 1000 }
  db = openSqlite(join(folder, 'flow.db'))
  context = { db, now: () => clock.now, random: randomBytes }
})
afterEach(async () => {
  await db.close()
  await rm(folder, { recursive: true })
})

test('without its cookie, or with that of another flow, a flow does not end', async () => {
  const { state } = await beginFlow(context, FLOW, '192.0.2.1')
  const other = await beginFlow(context, FLOW, '192.0.2.1')
  await expect(endFlow(context, state, () => undefined)).rejects.toThrow('begun in another browser')
  await expect(endFlow(context, state, () => other.cookie.value)).rejects.toThrow('begun in another browser')
})

test('after ten minutes it is over', async () => {
  const { state, cookie } = await beginFlow(context, FLOW, '192.0.2.1')
  clock.now += 10 * 60_000
  await expect(endFlow(context, state, () => cookie.value)).rejects.toThrow('used already or has expired')
})

test('it ends once, with what it began with', async () => {
  const begun = await beginFlow(context, FLOW, '192.0.2.1')
  const asked: string[] = []
  const ends = Array.from({ length: 3 }, () =>
    endFlow(context, begun.state, (name) => {
      asked.push(name)
      return begun.cookie.value
    }),
  )
  const ended = await Promise.allSettled(ends)
  expect(ended.filter(({ status }) => status === 'rejected')).toHaveLength(2)
  expect(ended.flatMap((end) => (end.status === 'fulfilled' ? [end.value.secrets] : []))).toEqual([begun])
  expect(asked[0]).toMatch(/^__Host-sallyport-sso-[0-9a-f]{16}$/)
  expect(begun.verifier).toMatch(/^[\w-]{43}$/)
  expect(begun.nonce).not.toBe(begun.verifier)
})

test('cookies of flows are told from others', () => {
  expect(flowCookiesIn('a=1; __Host-sallyport-sso-00ff=x; sallyport-session=y; sallyport-sso-1=z; not-sallyport-sso-2=w')).toEqual([
    '__Host-sallyport-sso-00ff',
    'sallyport-sso-1',
  ])
})
