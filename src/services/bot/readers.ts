import { readFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { AppError } from '../../lib/errors.ts'
import type { DirectoryConfig } from './destination.ts'
import type { OpenDirectory } from './open-directory.ts'

/** A file under its temporary name. */
export interface Written {
  /** What it will be called. */
  name: string
  temporary: string
  handle: FileHandle
}

type Reader = DirectoryConfig['readers'][number]

/** How other accounts are let in. */
export interface ReaderAccess {
  /**
   * Runs `setfacl` with this directory as its descriptor 3, paths being relative to `/proc/self/fd/3`; what it complains of, or
   * undefined when all went well. Not installed: `setfacl is not installed`.
   */
  setAcl(directoryFd: number, entries: string, paths: readonly string[]): Promise<string | undefined>
  findGroup(name: string): Promise<number | undefined>
  warn(message: string): void
}

/** Lets the readers of a destination read what is about to be put there, before it gets its name. */
export async function admitReaders(
  access: ReaderAccess,
  { readers, acls, path }: DirectoryConfig,
  directory: OpenDirectory,
  written: readonly Written[],
): Promise<void> {
  if (readers.length === 0) return
  if (acls !== 'off') {
    const fault = await setAcls(access, readers, directory, written)
    if (fault === undefined) return
    if (acls === 'required') throw new AppError('failed_precondition', `the readers of ${path} cannot be let in by ACLs: ${fault}`)
  }
  await admitByGroup(access, readers, path, directory, written)
}

async function setAcls(
  access: ReaderAccess,
  readers: readonly Reader[],
  { handle }: OpenDirectory,
  written: readonly Written[],
): Promise<string | undefined> {
  const entries = (rights: string): string =>
    readers.map(({ user, group }) => (user === undefined ? `g:${group}:${rights}` : `u:${user}:${rights}`)).join(',')
  const files = written.map(({ temporary }) => temporary)
  const fault =
    (await access.setAcl(handle.fd, entries('rx'), ['.'])) ??
    (files.length === 0 ? undefined : await access.setAcl(handle.fd, entries('r'), files))
  return fault === undefined ? undefined : `${fault} (${entries('r')})`
}

/** Without ACLs a file has one group: that of the readers, when they are one. */
async function admitByGroup(
  access: ReaderAccess,
  readers: readonly Reader[],
  path: string,
  { handle }: OpenDirectory,
  written: readonly Written[],
): Promise<void> {
  const [reader] = readers
  if (readers.length > 1 || reader?.group === undefined)
    return access.warn(
      `without ACLs only one group can be let in: the readers of ${path} cannot read it; install setfacl, or name one group`,
    )
  const gid = /^\d+$/.test(reader.group) ? Number(reader.group) : await access.findGroup(reader.group)
  if (gid === undefined) throw new AppError('failed_precondition', `there is no group ${reader.group} to let read ${path}`)
  const { uid, mode } = await handle.stat()
  await handle.chown(uid, gid)
  await handle.chmod((mode & 0o7777) | 0o050)
  for (const file of written) {
    await file.handle.chown((await file.handle.stat()).uid, gid)
    await file.handle.chmod(0o640)
  }
}

/** The group in the text of `/etc/group`. */
export async function findGroup(name: string, file = '/etc/group'): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const line = text.split('\n').find((each) => each.startsWith(`${name}:`))
  const gid = line?.split(':')[2]
  return gid !== undefined && /^\d+$/.test(gid) ? Number(gid) : undefined
}
