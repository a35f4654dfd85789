import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { generateKeyPair, renderPublicKey } from '../../ca/keys.ts'
import { ADMIN, AGENT, role, START, startFixture, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

const DB_AGENT = { ...AGENT, roles: ['Db'] }
const ana = userIdentity('ana', ['reads'])
const bob = userIdentity('bob', ['reads'])

let f: Fixture
let public_key: string
beforeAll(async () => {
  f = await startFixture()
  public_key = renderPublicKey((await generateKeyPair()).publicKey)
  const put = (document: { kind: string; metadata: { name: string } }) =>
    f.call('PUT', `/v1/resources/${document.kind}/${document.metadata.name}`, { resource: document }, ADMIN)
  await put(role('reads', { db_labels: { env: 'prod' }, db_users: ['reader'], db_names: ['shop', 'long'] }))
  await f.addUser('ana', ['reads'])
  await f.addUser('bob', ['reads'])
  await f.call('POST', '/v1/databases', { items: [dbServer('orders', 'prod'), dbServer('secret', 'none')] }, DB_AGENT)
})
afterAll(() => f.close())

function dbServer(name: string, env: string) {
  const database = {
    kind: 'db',
    version: 'v3',
    metadata: { name, labels: { env } },
    spec: { protocol: 'postgres', uri: 'pg.internal:5432' },
  }
  return {
    kind: 'db_server',
    version: 'v3',
    metadata: { name: `${name}@agent-1` },
    spec: { version: '1.2.3', hostname: 'h', host_id: 'agent-1', database },
  }
}

const assertionOf = async (who: typeof ana, server = 'db:orders') =>
  (await f.call('POST', '/v1/assertions', { server }, who)).body.assertion
const sign = (assertion: string, more: object = {}, as = DB_AGENT) =>
  f.call(
    'POST',
    '/v1/databases/certificates',
    { assertion, database: 'orders', db_user: 'reader', db_name: 'shop', public_key, ...more },
    as,
  )

test('a database that may not be seen is as absent as one that does not exist', async () => {
  expect(await f.call('POST', '/v1/assertions', { server: 'db:secret' }, ana)).toMatchObject({ status: 404 })
  expect(await f.call('POST', '/v1/assertions', { server: 'orders' }, ana)).toMatchObject({ status: 404 })
  expect((await f.call('GET', '/v1/databases', undefined, ana)).body.items.map(({ metadata }) => metadata.name)).toEqual(['orders'])
})

test('nobody gets a certificate without the word of who calls', async () => {
  expect(await sign('made up')).toMatchObject({ status: 401 })
  const assertion = await assertionOf(ana)
  expect(await sign(assertion, {}, ana)).toMatchObject({ status: 403 })
  expect(await sign(assertion, {}, AGENT)).toMatchObject({ status: 403 })
  expect(await sign(assertion, {}, { ...DB_AGENT, name: 'agent-2' })).toMatchObject({ status: 403 })
  expect(await sign(assertion, { database: 'secret' })).toMatchObject({ status: 401 })
  expect(await sign(assertion, { database: 'nothing' })).toMatchObject({ status: 403 })
  f.clock.now = START + 301_000
  expect(await sign(assertion)).toMatchObject({ status: 401 })
  f.clock.now = START
})

test('the word of somebody opens what the roles of that one allow, and no more', async () => {
  const assertion = await assertionOf(ana)
  expect(await sign(assertion, { db_user: 'postgres' })).toMatchObject({
    status: 403,
    body: { error: { message: expect.stringContaining('db_users') } },
  })
  expect(await sign(assertion, { db_name: 'other' })).toMatchObject({ status: 403 })
  expect(await sign(assertion, { db_user: `reader${'r'.repeat(60)}` })).toMatchObject({ status: 400 })
  const denied = (await f.events()).filter(({ event }) => event === 'cert.create')
  expect(denied).toMatchObject([
    { code: 'SPCRT001W', user: 'ana', name: 'postgres', server: 'db:orders', decision: { allow: false, kind: 'no_db_user' } },
    { code: 'SPCRT001W', user: 'ana', name: 'reader', decision: { kind: 'no_db_name' } },
  ])
})

test('the labels of a registered database count, whatever an agent says of it', async () => {
  const assertion = await assertionOf(ana)
  const { database } = dbServer('orders', 'staging').spec
  await f.call('PUT', '/v1/resources/db/orders', { resource: database }, ADMIN)
  expect(await sign(assertion)).toMatchObject({ status: 403 })
  await f.call('DELETE', '/v1/resources/db/orders', undefined, ADMIN)
  expect(await sign(assertion)).toMatchObject({ status: 200 })
})

test('a lock counts although the word is older', async () => {
  const assertion = await assertionOf(bob)
  const lock = { kind: 'lock', version: 'v2', metadata: { name: 'bob' }, spec: { target: { user: 'bob' } } }
  await f.call('PUT', '/v1/resources/lock/bob', { resource: lock }, ADMIN)
  expect(await sign(assertion)).toMatchObject({ status: 403 })
})

test('a certificate names the database user, for three minutes, by an authority of its own', async () => {
  const { status, body } = await sign(await assertionOf(ana))
  expect(status).toBe(200)
  const certificate = new X509Certificate(body.certificate)
  expect(certificate.subject).toBe('OU=orders\nCN=reader')
  expect(certificate.issuer).toBe('O=example\nCN=Sallyport db_client CA')
  expect(certificate.validToDate.getTime()).toBe(START + 180_000)
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
})

test('a server certificate is for those who may sign identities', async () => {
  const ask = { hosts: ['pg.internal', '10.0.0.1'], public_key, ttl: 3600 }
  expect(await f.call('POST', '/v1/databases/server-certificates', ask, ana)).toMatchObject({ status: 403 })
  const { body } = await f.call('POST', '/v1/databases/server-certificates', ask, ADMIN)
  const certificate = new X509Certificate(body.certificate)
  expect(certificate.subjectAltName).toBe('DNS:pg.internal, IP Address:10.0.0.1')
  expect(certificate.issuer).toBe('O=example\nCN=Sallyport db CA')
})
