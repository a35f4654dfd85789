import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN, AGENT, app, appServer, role, startFixture, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

const VALUE = 'correct-horse-battery-staple-42'

let f: Fixture
beforeAll(async () => {
  f = await startFixture()
  await put(secret('key', VALUE))
  await put(appNaming('crm', 'key'))
  await put(appServer('crm'), AGENT)
})
afterAll(() => f.close())

function secret(name: string, value?: string, more: { expires?: string; description?: string } = {}) {
  return { kind: 'secret', version: 'v1', metadata: { name, ...more }, spec: value === undefined ? {} : { value } }
}

function appNaming(name: string, secretName: string) {
  const plain = app(name)
  const headers = [{ name: 'authorization', value: `Bearer {{secret.${secretName}}}` }]
  return { ...plain, spec: { ...plain.spec, rewrite: { headers } } }
}

function put(document: Record<string, unknown> & { kind: string; metadata: { name: string } }, as = ADMIN) {
  return f.call('PUT', `/v1/resources/${document.kind}/${document.metadata.name}`, { resource: document }, as)
}

const read = (name: string, as = AGENT) => f.call('POST', '/v1/secret-values', { name }, as)

test('only an agent that offers a server whose registered app names the secret is given it', async () => {
  await put(secret('other', 'x'))
  expect(await read('key', userIdentity('ana', ['editor']))).toMatchObject({ status: 403 })
  expect(await read('key', { ...AGENT, name: 'agent-2' })).toMatchObject({ status: 404 })
  expect(await read('key', { ...AGENT, roles: ['Proxy'] })).toMatchObject({ status: 403 })
  expect(await read('key', ADMIN)).toMatchObject({ status: 404 })
  expect(await read('other')).toMatchObject({ status: 404 })
  expect(await read('missing')).toMatchObject({ status: 404 })
  expect(await read('key')).toMatchObject({ status: 200, body: { value: VALUE } })
})

test('what an agent itself says of a server gives it no secret', async () => {
  await put(secret('boss', 'x'))
  const said = appServer('own')
  await put({ ...said, spec: { ...said.spec, app: appNaming('own', 'boss') } }, AGENT)
  expect(await read('boss')).toMatchObject({ status: 404 })
})

test('naming a secret in an app takes the verb use on it', async () => {
  await put({ ...role('registrar', {}), spec: { allow: { rules: [{ resources: ['app'], verbs: ['*'] }] } } })
  await put({
    ...role('trusted', {}),
    spec: {
      allow: {
        rules: [
          { resources: ['app'], verbs: ['*'] },
          { resources: ['secret'], verbs: ['use'] },
        ],
      },
    },
  })
  const mallory = userIdentity('mallory', ['registrar'])
  expect(await put(appNaming('evil', 'key'), mallory)).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/resources/app', { resource: appNaming('evil', 'key') }, mallory)).toMatchObject({ status: 403 })
  expect(
    await put({ ...appNaming('crm', 'key'), spec: { ...appNaming('crm', 'key').spec, uri: 'mcp+http://evil.example' } }, mallory),
  ).toMatchObject({ status: 403 })
  expect(await put(appNaming('fine', 'missing'))).toMatchObject({ status: 412, body: { error: { code: 'failed_precondition' } } })
  expect(await put(appNaming('fine', 'key'), userIdentity('ana', ['trusted']))).toMatchObject({ status: 200 })
})

test('a value is on no answer, in no event and not in the store as it is', async () => {
  const answers = [
    await put(secret('key', VALUE, { description: 'for crm' })),
    await f.call('GET', '/v1/resources/secret', undefined, ADMIN),
    await f.call('GET', '/v1/resources/secret?with_secrets=true', undefined, ADMIN),
    await f.call('GET', '/v1/resources/secret/key?with_secrets=true', undefined, ADMIN),
  ]
  await read('key')
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(JSON.stringify(answers)).toContain('for crm')
  expect(JSON.stringify(answers)).not.toContain(VALUE)
  expect(JSON.stringify(await f.events())).not.toContain(VALUE)
  for (const name of ['sallyport.db', 'sallyport.db-wal']) expect((await readFile(join(f.dataDirectory, name))).includes(VALUE)).toBe(false)
})

test('a change without a value keeps it, a new one needs it, and one that expired or was deleted is gone', async () => {
  expect(await put(secret('fresh'))).toMatchObject({ status: 400 })
  expect(await put(secret('key', undefined, { description: 'again' }))).toMatchObject({ status: 200 })
  expect(await read('key')).toMatchObject({ body: { value: VALUE } })
  await put(secret('key', VALUE, { expires: new Date(f.clock.now + 1000).toISOString() }))
  f.clock.now += 2000
  await expect.poll(async () => (await read('key')).status).toBe(404)
  expect(await put(secret('key'))).toMatchObject({ status: 400 })
  await put(secret('key', 'second'))
  expect(await read('key')).toMatchObject({ body: { value: 'second' } })
  await f.call('DELETE', '/v1/resources/secret/key', undefined, ADMIN)
  expect(await read('key')).toMatchObject({ status: 404 })
  await put(secret('key', VALUE))
})

test('each agent and change is audited once', async () => {
  await put(secret('counted', 'one'))
  await put(appNaming('ledger', 'counted'))
  await put(appServer('ledger'), AGENT)
  for (let times = 0; times < 3; times++) await read('counted')
  await put(secret('counted', 'two'))
  await read('counted')
  const events = (await f.events()).filter(({ event, name }) => event === 'secret.read' && name === 'counted')
  expect(events).toHaveLength(2)
  expect(events[0]).toMatchObject({ code: 'SPSEC001I', server_id: 'agent-1', servers: ['ledger'], success: true })
})
