import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { faultOf } from '../../../test/fakes/outgoing.ts'
import { ownAccount } from '../../../test/fakes/stdio-app.ts'
import { createRunCommand } from './run-command.ts'
import { readSecretFiles } from './secret-files.ts'

let folder = ''
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'secrets-'))))
afterAll(() => rm(folder, { recursive: true }))

async function file(name: string, text: string | Buffer, mode = 0o600): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}

async function refusal(path: string): Promise<string> {
  const { code, message } = await faultOf(readSecretFiles([{ file: path }], ownAccount.uid))
  expect(code).toBe('failed_precondition')
  return message.replace(`env_from file ${JSON.stringify(path)} `, '')
}

test('a file that others may read, or its group write, is refused', async () => {
  for (const mode of [0o604, 0o644, 0o602, 0o601])
    expect(await refusal(await file('open', 'A=1', mode))).toBe('may be read or written by others: chmod o= it')
  expect(await refusal(await file('group', 'A=1', 0o660))).toBe('may be written by its group: chmod g-w it')
})

test.skipIf(ownAccount.uid !== 0)('a file of somebody else is refused', async () => {
  const path = await file('foreign', 'A=1')
  await chown(path, 65534, 65534)
  expect(await refusal(path)).toBe('must be owned by root or the agent’s user')
  await symlink(path, join(folder, 'link'))
  expect(await refusal(join(folder, 'link'))).toBe('must be owned by root or the agent’s user')
})

test.skipIf(ownAccount.uid !== 0)('a file at a place that others can turn elsewhere is refused', async () => {
  const secret = await file('others.env', 'TOKEN=of-another-server')
  const home = join(folder, 'home')
  await mkdir(home)
  await symlink(secret, join(home, 'server.env'))
  await symlink(join(home, 'server.env'), join(folder, 'hop.env'))
  await mkdir(join(home, 'below'))
  await writeFile(join(home, 'below', 'own.env'), 'A=1', { mode: 0o600 })
  const places = [
    join(home, 'server.env'),
    join(folder, 'hop.env'),
    join(home, 'below', 'own.env'),
    join(home, 'below', '..', 'server.env'),
  ]
  for (const place of places) await readSecretFiles([{ file: place }], ownAccount.uid)
  for (const [owner, mode] of [
    [65534, 0o700],
    [0, 0o777],
    [0, 0o770],
  ] as const) {
    await chown(home, owner, 65534)
    await chmod(home, mode)
    for (const place of places)
      expect(await refusal(place)).toBe(
        `could be replaced by others, at ${home}: keep it in directories that only root or the agent’s user may write to`,
      )
  }
})

test('what is no file, too large or no text is refused, and a FIFO is not waited for', async () => {
  expect(await refusal(join(folder, 'none'))).toBe('cannot be read by the agent (ENOENT)')
  expect(await refusal(folder)).toMatch(/^(is no regular file|may be read)/)
  expect(await refusal(await file('large', 'x'.repeat(65_537)))).toBe('has more than 65536 bytes')
  expect(await refusal(await file('bytes', Buffer.from([65, 61, 0xff])))).toBe('is not UTF-8 text')
  await createRunCommand(process.env)('mkfifo', ['-m', '600', join(folder, 'fifo')])
  expect(await refusal(join(folder, 'fifo'))).toBe('is no regular file')
})

test('a line that is no assignment is refused without its content', async () => {
  expect(await refusal(await file('words', 'A=1\nhunter2 secret\n'))).toBe('line 2 is not NAME=value')
  expect(await refusal(await file('quote', 'A="hunter2'))).toBe('line 1 is not NAME=value')
  expect(await refusal(await file('after', `A='hunter2' x`))).toBe('line 1 is not NAME=value')
  expect(await refusal(await file('preload', '# x\n\nLD_PRELOAD=/x.so'))).toBe(
    'line 3: the variable may not be set: it would change the programs that start the server',
  )
  expect(await refusal(await file('hyphen', 'MY-KEY=hunter2'))).toBe(
    'line 1: the variable is no name of an environment variable (letters, digits and _)',
  )
})

test('later files win, and quotes are as in other dotenv files', async () => {
  const first = await file('first', '\uFEFFA=1\r\nexport B = two words # note\n\n#C=3\nD=\n')
  const second = await file('second', `A='$x # \\n'\nE="a\\nb\\"c\\\\d\\$e\\q" # note\nF=a=b#c`, 0o640)
  expect(await readSecretFiles([{ file: first }, { file: second }], ownAccount.uid)).toEqual(
    new Map([
      ['A', '$x # \\n'],
      ['B', 'two words'],
      ['D', ''],
      ['E', 'a\nb"c\\d$e\\q'],
      ['F', 'a=b#c'],
    ]),
  )
})

test('a secret of the cluster is lines like a file, and without one nothing is read', async () => {
  const path = await file('before', 'A=1\nB=1')
  const values: Record<string, string> = { tools: 'B=2\nC="x y"\n', bad: 'hunter2 secret' }
  const read = (name: string) => readSecretFiles([{ file: path }, { secret: name }], ownAccount.uid, (asked) => values[asked] ?? '')
  expect((await faultOf(read('bad'))).message).toBe('env_from secret "bad" line 1 is not NAME=value')
  expect((await faultOf(readSecretFiles([{ secret: 'tools' }], ownAccount.uid))).message).toBe(
    'env_from secret "tools" cannot be read: there are no secrets here',
  )
  expect(Object.fromEntries(await read('tools'))).toEqual({ A: '1', B: '2', C: 'x y' })
})
