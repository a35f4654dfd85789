import { mkdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { directoryDependencies, SCRATCH_ACCOUNT, scratch } from './bot.fixture.ts'
import { parseBotConfig } from './config.ts'
import type { DirectoryConfig } from './destination.ts'
import { findAccount, listDirectories, prepareDirectory } from './prepare-directory.ts'

let home: Awaited<ReturnType<typeof scratch>>
beforeEach(async () => {
  home = await scratch()
})
afterEach(() => home.dispose())

const at = (path: string, more: Partial<DirectoryConfig> = {}): DirectoryConfig => ({
  type: 'directory',
  path,
  symlinks: 'try-secure',
  acls: 'try',
  readers: [],
  ...more,
})
const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8)

test('a link is not followed, and required ACLs that cannot be set are told', async () => {
  await mkdir(join(home.path, 'real'), { mode: 0o755 })
  await symlink(join(home.path, 'real'), join(home.path, 'link'))
  await expect(prepareDirectory(at(join(home.path, 'link')), SCRATCH_ACCOUNT, directoryDependencies())).rejects.toThrow(
    'is a symbolic link',
  )
  const readers = { ...directoryDependencies().readers, setAcl: async () => 'setfacl is not installed' }
  const wanted = at(join(home.path, 'acl'), { acls: 'required', readers: [{ user: 'nobody' }] })
  await expect(prepareDirectory(wanted, SCRATCH_ACCOUNT, { readers })).rejects.toThrow('cannot be let in by ACLs: setfacl is not installed')
})

test('it is made for the account alone, what is there is kept, and readers are let in', async () => {
  const asked: string[] = []
  const setAcl = async (_: number, entries: string, paths: readonly string[]) => void asked.push(`${entries} ${paths.join(',')}`)
  const path = join(home.path, 'deep', 'out')
  await prepareDirectory(at(path, { readers: [{ user: 'agent' }, { group: 'mcp' }] }), SCRATCH_ACCOUNT, {
    readers: { ...directoryDependencies().readers, setAcl },
  })
  expect(await modeOf(path)).toBe('700')
  expect(asked).toEqual(['u:agent:rx,g:mcp:rx .'])
  await writeFile(join(path, 'identity'), 'x')
  await prepareDirectory(at(path), SCRATCH_ACCOUNT, directoryDependencies())
  expect((await stat(join(path, 'identity'))).size).toBe(1)
})

test('all directories of a configuration, the storage first; accounts by name and number', async () => {
  const config = parseBotConfig(
    `proxy_server: h:1
onboarding: {token: t}
storage: {type: directory, path: /s}
services:
  - {type: identity, destination: {type: directory, path: /a, readers: [{user: u}]}}
  - {type: identity, destination: {type: memory}}
`,
    't',
    {},
  )
  expect(listDirectories(config).map(({ path, readers }) => [path, readers.length])).toEqual([
    ['/s', 0],
    ['/a', 1],
  ])
  const passwd = join(home.path, 'passwd')
  await writeFile(passwd, 'root:x:0:0:root:/root:/bin/sh\ntbot:x:990:980::/:/bin/false\nbroken\n')
  expect(await findAccount('tbot', passwd)).toEqual({ uid: 990, gid: 980 })
  expect(await findAccount('990', passwd)).toEqual({ uid: 990, gid: 980 })
  expect(await findAccount('nobody', passwd)).toBe(undefined)
})
