import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, open, readdir, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { AppError } from '../../lib/errors.ts'
import { readBounded } from '../../lib/read-bounded.ts'
import type { Destination, DirectoryConfig } from './destination.ts'
import { explainFault, hasCode, openDirectory } from './open-directory.ts'
import type { OpenDirectory } from './open-directory.ts'
import { admitReaders } from './readers.ts'
import type { ReaderAccess, Written } from './readers.ts'

export interface DirectoryDependencies {
  uid: number
  gid: number
  readers: ReaderAccess
  now: () => number
  onStep?: (path: string) => Promise<void>
}

const TEMPORARY = /^\.tmp-[0-9a-f-]{36}$/
/** A temporary file this old is what an earlier process left when it was killed. */
const ABANDONED_MS = 3_600_000
const MAX_READ_BYTES = 1024 * 1024
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Files of mode 0600 in a directory of mode 0700, and what its readers need beyond that. */
export function createDirectoryDestination(
  config: DirectoryConfig,
  { uid, gid, readers, now, onStep }: DirectoryDependencies,
): Destination {
  const options = { symlinks: config.symlinks, uid, gid, ...(onStep && { onStep }) }

  async function inDirectory<T>(use: (directory: OpenDirectory) => Promise<T>): Promise<T> {
    const directory = await openDirectory(config.path, options).catch((thrown: unknown) => {
      throw explainFault(thrown, config.path)
    })
    try {
      return await use(directory)
    } catch (thrown) {
      throw explainFault(thrown, config.path)
    } finally {
      await directory.handle.close()
    }
  }

  return {
    name: `directory ${config.path}`,
    check: () => inDirectory((directory) => probe(directory)),
    read: (file) => inDirectory((directory) => readOwn(directory, file, uid)),
    write: (files) =>
      inDirectory(async (directory) => {
        await removeAbandoned(directory, now())
        await replaceAll(directory, files, (handles) => admitReaders(readers, config, directory, handles))
      }),
  }
}

/** A file that we can make, write and remove again: better told before a certificate is issued than after. */
async function probe(directory: OpenDirectory): Promise<void> {
  const path = directory.entry(`.tmp-${randomUUID()}`)
  const handle = await open(path, CREATE, 0o600)
  try {
    await handle.writeFile('probe')
  } finally {
    await handle.close()
    await rm(path, { force: true })
  }
}

/** Only what we wrote ourselves is believed: a key that somebody else put there is one that they know. */
async function readOwn(directory: OpenDirectory, file: string, uid: number): Promise<string | undefined> {
  let handle: FileHandle
  try {
    handle = await open(directory.entry(file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (thrown) {
    if (hasCode(thrown, 'ENOENT') || hasCode(thrown, 'ELOOP')) return undefined
    throw thrown
  }
  try {
    const status = await handle.stat()
    if (!status.isFile() || status.uid !== uid || (status.mode & 0o022) !== 0 || status.nlink !== 1) return undefined
    const bytes = await readBounded(
      handle.createReadStream({ autoClose: false }),
      MAX_READ_BYTES,
      () => new AppError('resource_exhausted', `${file} is too large`),
    )
    return bytes.toString()
  } finally {
    await handle.close()
  }
}

/** Nothing is renamed before everything is on the disk: a full one leaves the old files as they are. */
async function replaceAll(
  directory: OpenDirectory,
  files: ReadonlyMap<string, string>,
  admit: (handles: readonly Written[]) => Promise<void>,
): Promise<void> {
  const written: Written[] = []
  try {
    for (const [name, content] of files) {
      const status = await lstat(directory.entry(name)).catch(() => undefined)
      if (status?.isDirectory()) throw new AppError('failed_precondition', `cannot replace ${name}: it is a directory`)
      const temporary = `.tmp-${randomUUID()}`
      const handle = await open(directory.entry(temporary), CREATE, 0o600)
      written.push({ name, temporary, handle })
      await handle.chmod(0o600)
      await handle.writeFile(content)
    }
    await admit(written)
    for (const { handle } of written) await handle.sync()
    for (const { name, temporary } of written) await rename(directory.entry(temporary), directory.entry(name))
    await directory.handle.sync()
  } finally {
    for (const { handle, temporary } of written) {
      await handle.close()
      await rm(directory.entry(temporary), { force: true })
    }
  }
}

async function removeAbandoned(directory: OpenDirectory, now: number): Promise<void> {
  for (const name of await readdir(directory.entry('.'))) {
    if (!TEMPORARY.test(name)) continue
    const status = await lstat(directory.entry(name)).catch(() => undefined)
    if (status && now - status.mtimeMs > ABANDONED_MS) await rm(directory.entry(name), { force: true })
  }
}
