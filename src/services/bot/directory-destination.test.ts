import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, link, lstat, mkdir, readdir, readFile, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { directoryDependencies, SCRATCH_ACCOUNT, scratch } from './bot.fixture.ts'
import { createDirectoryDestination } from './directory-destination.ts'
import type { DirectoryConfig } from './destination.ts'

const isRoot = SCRATCH_ACCOUNT.uid === 0
let home: Awaited<ReturnType<typeof scratch>>
beforeEach(async () => {
  home = await scratch()
})
afterEach(async () => await home.dispose())

const FILES = new Map([
  ['key', 'k'],
  ['identity', 'i'],
])

function config(path: string, more: Partial<DirectoryConfig> = {}): DirectoryConfig {
  return { type: 'directory', path, symlinks: 'try-secure', acls: 'try', readers: [], ...more }
}

test.each(['secure', 'try-secure'] as const)(
  '%s: a link anywhere in the path is refused, and nothing is written behind it',
  async (symlinks) => {
    const target = join(home.path, 'target')
    await mkdir(join(target, 'deep'), { recursive: true })
    await symlink(target, join(home.path, 'link'))
    for (const path of [join(home.path, 'link'), join(home.path, 'link', 'deep'), join(home.path, 'link', 'new')]) {
      const destination = createDirectoryDestination(config(path, { symlinks }), directoryDependencies())
      await expect(destination.write(FILES)).rejects.toThrow(`${join(home.path, 'link')} is a symbolic link`)
      await expect(destination.check()).rejects.toMatchObject({ code: 'failed_precondition', details: { reason: 'symlink' } })
    }
    expect(await readdir(target)).toEqual(['deep'])
    expect(await readdir(join(target, 'deep'))).toEqual([])
  },
)

test('an attacker who swaps a component between two steps gets nothing', async () => {
  const [path, stolen] = [join(home.path, 'a', 'b', 'c'), join(home.path, 'stolen')]
  await mkdir(path, { recursive: true })
  await mkdir(join(stolen, 'c'), { recursive: true })
  // After a/b was opened and before c is opened in it, a/b becomes a link.
  const onStep = async (step: string): Promise<void> => {
    if (!step.endsWith('/a/b/c')) return
    await rename(join(home.path, 'a', 'b'), join(home.path, 'a', 'was-b'))
    await symlink(stolen, join(home.path, 'a', 'b'))
  }
  const destination = createDirectoryDestination(config(path), { ...directoryDependencies(), onStep })
  await destination.write(FILES)
  expect(await readdir(join(stolen, 'c'))).toEqual([])
  expect((await readdir(join(home.path, 'a', 'was-b', 'c'))).toSorted()).toEqual(['identity', 'key'])
  await expect(createDirectoryDestination(config(path), directoryDependencies()).write(FILES)).rejects.toThrow('is a symbolic link')
})

test('a directory that others can change is refused, as is one of another account', async () => {
  const open = join(home.path, 'open')
  await mkdir(join(open, 'in'), { recursive: true })
  await chmod(open, 0o777)
  await expect(createDirectoryDestination(config(join(open, 'in')), directoryDependencies()).write(FILES)).rejects.toThrow(
    `${open} can be written to by everybody`,
  )
  await chmod(open, 0o1777)
  await createDirectoryDestination(config(join(open, 'in')), directoryDependencies()).write(FILES)
  const stranger = { ...directoryDependencies(), uid: 4242 }
  if (!isRoot)
    await expect(createDirectoryDestination(config(join(open, 'in')), stranger).write(FILES)).rejects.toThrow('belongs to another account')
  if (!isRoot) return
  await chown(join(open, 'in'), 4242, 4242)
  await expect(createDirectoryDestination(config(join(open, 'in')), directoryDependencies()).write(FILES)).rejects.toThrow(
    'belongs to another account (uid 4242)',
  )
})

test('with insecure links are followed', async () => {
  await mkdir(join(home.path, 'target'))
  await symlink(join(home.path, 'target'), join(home.path, 'link'))
  await createDirectoryDestination(config(join(home.path, 'link'), { symlinks: 'insecure' }), directoryDependencies()).write(FILES)
  expect((await readdir(join(home.path, 'target'))).toSorted()).toEqual(['identity', 'key'])
})

test('modes: the directory 0700, its files 0600; a link in the place of a file is replaced, not followed', async () => {
  const path = join(home.path, 'new', 'machine-id')
  const victim = join(home.path, 'victim')
  await writeFile(victim, 'untouched')
  const destination = createDirectoryDestination(config(path), directoryDependencies())
  await destination.write(FILES)
  expect(((await stat(path)).mode & 0o777).toString(8)).toBe('700')
  await symlink(victim, join(path, 'tlscert'))
  await destination.write(new Map([...FILES, ['tlscert', 't']]))
  expect(await readFile(victim, 'utf8')).toBe('untouched')
  for (const name of await readdir(path)) {
    const status = await lstat(join(path, name))
    expect([name, status.isFile(), (status.mode & 0o777).toString(8)]).toEqual([name, true, '600'])
  }
})

test('what stands in the way leaves all old files as they are, and no temporary ones', async () => {
  const path = join(home.path, 'd')
  const destination = createDirectoryDestination(config(path), directoryDependencies())
  await destination.write(FILES)
  await mkdir(join(path, 'tlscert'))
  await expect(
    destination.write(
      new Map([
        ['key', 'new'],
        ['tlscert', 'new'],
      ]),
    ),
  ).rejects.toThrow('cannot replace tlscert: it is a directory')
  expect(await readFile(join(path, 'key'), 'utf8')).toBe('k')
  expect((await readdir(path)).toSorted()).toEqual(['identity', 'key', 'tlscert'])
})

test('a full disk leaves all old files as they are', async () => {
  const path = join(home.path, 'small')
  await mkdir(path)
  const mounted = isRoot && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', path]).status === 0
  if (!mounted) return console.warn('skipped: a small file system can be mounted by root only')
  try {
    const destination = createDirectoryDestination(config(path), directoryDependencies())
    await destination.write(FILES)
    await expect(
      destination.write(
        new Map([
          ['key', 'new'],
          ['identity', 'x'.repeat(128 * 1024)],
        ]),
      ),
    ).rejects.toThrow('there is no space left on its disk')
    expect([await readFile(join(path, 'key'), 'utf8'), await readFile(join(path, 'identity'), 'utf8')]).toEqual(['k', 'i'])
    expect((await readdir(path)).toSorted()).toEqual(['identity', 'key'])
  } finally {
    spawnSync('umount', [path])
  }
})

/** Reads a file again and again until its input ends; then says how often, and how often it was not whole. */
const READER = `
const { readFileSync } = require('node:fs')
let [reads, torn, ended] = [0, 0, false]
process.stdin.resume().on('end', () => (ended = true))
const loop = () => {
  for (let i = 0; i < 50; i++) {
    const text = readFileSync(process.argv[1], 'utf8')
    reads++
    if (text.length !== 65536 || text !== text[0].repeat(65536)) torn++
  }
  if (ended) console.log(JSON.stringify({ reads: reads > 50, torn }))
  else setImmediate(loop)
}
loop()`

test('another process that reads all the while sees the old file or the new one', async () => {
  const path = join(home.path, 'd')
  const destination = createDirectoryDestination(config(path), directoryDependencies())
  await destination.write(new Map([['identity', 'a'.repeat(65_536)]]))
  const reader = spawn(process.execPath, ['--eval', READER, join(path, 'identity')], { stdio: ['pipe', 'pipe', 'inherit'] })
  let said = ''
  reader.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  const closed = once(reader, 'close')
  for (let round = 0; round < 200; round++) await destination.write(new Map([['identity', 'abcd'.charAt(round % 4).repeat(65_536)]]))
  reader.stdin.end()
  await closed
  expect(JSON.parse(said)).toEqual({ reads: true, torn: 0 })
})

test('what a killed process left behind goes after an hour', async () => {
  const path = join(home.path, 'd')
  await createDirectoryDestination(config(path), directoryDependencies()).write(FILES)
  const left = `.tmp-${crypto.randomUUID()}`
  await writeFile(join(path, left), 'half')
  await createDirectoryDestination(config(path), directoryDependencies()).write(FILES)
  expect(await readdir(path)).toContain(left)
  await utimes(join(path, left), new Date(0), new Date(0))
  await createDirectoryDestination(config(path), directoryDependencies()).write(FILES)
  expect(await readdir(path)).not.toContain(left)
})

test('only what we wrote ourselves is read back', async () => {
  const path = join(home.path, 'd')
  const destination = createDirectoryDestination(config(path), directoryDependencies())
  await destination.write(FILES)
  expect(await destination.read('key')).toBe('k')
  expect(await destination.read('nothing')).toBeUndefined()
  await link(join(path, 'key'), join(path, 'twice'))
  expect(await destination.read('key')).toBeUndefined()
  await symlink('/etc/hostname', join(path, 'linked'))
  expect(await destination.read('linked')).toBeUndefined()
  await writeFile(join(path, 'loose'), 'x')
  await chmod(join(path, 'loose'), 0o666)
  expect(await destination.read('loose')).toBeUndefined()
})

test('readers: by ACL where that works, required means required, else one group', async () => {
  const calls: unknown[] = []
  const acl: { fault?: string } = {}
  const dependencies = directoryDependencies()
  dependencies.readers.setAcl = async (_fd: number, entries: string, paths: readonly string[]) => {
    calls.push([entries, paths.length])
    return acl.fault
  }
  const group = process.getgid?.() ?? 0
  dependencies.readers.findGroup = async (name: string) => (name === 'ours' ? group : undefined)
  const path = join(home.path, 'd')
  await createDirectoryDestination(config(path, { readers: [{ user: 'alice' }, { group: 'ops' }] }), dependencies).write(FILES)
  expect(calls).toEqual([
    ['u:alice:rx,g:ops:rx', 1],
    ['u:alice:r,g:ops:r', 2],
  ])
  acl.fault = 'Operation not supported'
  const required = createDirectoryDestination(config(path, { readers: [{ user: 'alice' }], acls: 'required' }), dependencies)
  await expect(required.write(FILES)).rejects.toThrow(
    `the readers of ${path} cannot be let in by ACLs: Operation not supported (u:alice:r)`,
  )
  await createDirectoryDestination(config(path, { readers: [{ user: 'alice' }] }), dependencies).write(FILES)
  expect(dependencies.warnings[0]).toContain('without ACLs only one group can be let in')
  expect(((await stat(join(path, 'key'))).mode & 0o777).toString(8)).toBe('600')
  await createDirectoryDestination(config(path, { readers: [{ group: 'ours' }], acls: 'off' }), dependencies).write(FILES)
  expect(((await stat(join(path, 'key'))).mode & 0o777).toString(8)).toBe('640')
  expect(((await stat(path)).mode & 0o777).toString(8)).toBe('750')
  const unknown = createDirectoryDestination(config(path, { readers: [{ group: 'nobody-here' }] }), dependencies)
  await expect(unknown.write(FILES)).rejects.toThrow('there is no group nobody-here')
})
