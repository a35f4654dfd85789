import { spawnSync } from 'node:child_process'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { directoryDependencies, SCRATCH_ACCOUNT, scratch } from './bot.fixture.ts'
import { createDirectoryDestination } from './directory-destination.ts'
import { createReaderAccess } from './setfacl.ts'

const isInstalled = spawnSync('setfacl', ['--version']).status === 0
const NOBODY = 65534

test('a reader by ACL reads, also what is written later; everybody else does not', async (context) => {
  if (!isInstalled || SCRATCH_ACCOUNT.uid !== 0) {
    console.warn('skipped: this needs setfacl, and root to be somebody else')
    return context.skip()
  }
  const home = await scratch()
  try {
    await chmod(home.path, 0o711)
    const path = join(home.path, 'machine-id')
    const dependencies = { ...directoryDependencies(), readers: createReaderAccess(() => {}) }
    const readers = [{ user: String(NOBODY) }]
    const destination = createDirectoryDestination({ type: 'directory', path, symlinks: 'secure', acls: 'required', readers }, dependencies)
    await destination.write(new Map([['identity', 'one']]))
    await destination.write(new Map([['identity', 'two']]))
    const read = (uid: number) => spawnSync('cat', [join(path, 'identity')], { uid, gid: uid }).stdout.toString()
    expect([read(NOBODY), read(4242)]).toEqual(['two', ''])
    const unknown = { user: 'no-such-user-here' }
    const wrong = createDirectoryDestination(
      { type: 'directory', path, symlinks: 'secure', acls: 'required', readers: [unknown] },
      dependencies,
    )
    await expect(wrong.write(new Map([['identity', 'three']]))).rejects.toThrow(/cannot be let in by ACLs: setfacl: .*no-such-user-here/)
    expect(read(NOBODY)).toBe('two')
  } finally {
    await home.dispose()
  }
})
