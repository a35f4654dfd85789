import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiClient } from '../../../client/call.ts'
import { type Database, dbSchema } from '../../../resources/db.ts'
import { findCredentials } from './credentials.ts'

let directory = ''
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-secrets-'))
  await writeFile(join(directory, 'good'), 'p\u00e4ss wörd\n', { mode: 0o600 })
  await writeFile(join(directory, 'empty'), '\n', { mode: 0o600 })
  await writeFile(join(directory, 'open'), 'secret\n')
  await chmod(join(directory, 'open'), 0o644)
})
afterAll(() => rm(directory, { recursive: true }))

const api = createApiClient(async () => {
  throw new Error('nobody is asked')
})

function database(password_files: Record<string, string>): Database {
  const auth = { method: 'password', password_files }
  return dbSchema.parse({
    kind: 'db',
    version: 'v3',
    metadata: { name: 'orders' },
    spec: { protocol: 'postgres', uri: 'localhost:5432', tls: { mode: 'disable' }, auth },
  })
}

const find = (user: string, files: Record<string, string>, secretsDirectory: string | undefined = directory) =>
  findCredentials({ api, secretsDirectory }, database(files), { user, name: 'shop' }, 'assertion')

test.each([
  ['another user', 'writer', { reader: 'good' }, 'there is no password of "writer"'],
  ['a user named like a member of objects', 'constructor', { reader: 'good' }, 'there is no password of "constructor"'],
  ['a file that everybody can read', 'reader', { reader: 'open' }, 'can be read by everybody'],
  ['an empty file', 'reader', { reader: 'empty' }, 'holds no password'],
  ['no file', 'reader', { reader: 'missing' }, 'cannot read the password file "missing"'],
])('there is no password for %s', async (_name, user, files, message) => {
  await expect(find(user, files)).rejects.toMatchObject({ code: 'failed_precondition', message: expect.stringContaining(message) })
})

test('an agent without a directory for secrets holds none', async () => {
  const without = findCredentials({ api, secretsDirectory: undefined }, database({ reader: 'good' }), { user: 'reader', name: 'shop' }, 'a')
  await expect(without).rejects.toThrow('set db_service.secrets_directory')
})

test('a password is read without the end of its line', async () => {
  expect(await find('reader', { reader: 'good' })).toEqual({ host: 'localhost', port: 5432, tls: undefined, password: 'päss wörd' })
})

test.each([
  ['a path', { spec: { auth: { method: 'password', password_files: { a: '../x' } } } }],
  ['a hidden file', { spec: { auth: { method: 'password', password_files: { a: '.x' } } } }],
  ['passwords without files', { spec: { auth: { method: 'password' } } }],
  ['no TLS to another machine', { spec: { tls: { mode: 'disable' }, auth: { method: 'password', password_files: { a: 'x' } } } }],
  ['a certificate without TLS', { spec: { uri: '127.0.0.1:5432', tls: { mode: 'disable' } } }],
  ['another protocol', { spec: { protocol: 'mysql' } }],
  ['no port', { spec: { uri: 'pg.internal' } }],
  ['credentials in the address', { spec: { uri: 'postgres://a:b@pg.internal:5432' } }],
  ['a port beyond all', { spec: { uri: 'pg.internal:70000' } }],
])('a database with %s is none', (_name, { spec }) => {
  const document = {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'orders' },
    spec: { protocol: 'postgres', uri: 'pg.internal:5432', ...spec },
  }
  expect(dbSchema.safeParse(document).success).toBe(false)
})

test('a database is read only, verified, by certificate and within limits unless it says otherwise', () => {
  const document = {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'orders' },
    spec: { protocol: 'postgres', uri: 'postgres://pg.internal:5432/' },
  }
  expect(dbSchema.parse(document).spec).toEqual({
    protocol: 'postgres',
    uri: 'pg.internal:5432',
    tls: { mode: 'verify-full' },
    auth: { method: 'client_certificate' },
    mcp: { read_only: true, statement_timeout: 30, max_rows: 1000, max_bytes: 1_048_576 },
    tunnel: { read_only: false },
  })
})
