import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import type { Stats } from 'node:fs'
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { AppError } from './errors.ts'

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024
const STICKY = 0o1000
/** Of the machine and of all accounts (Filesystem Hierarchy Standard): closed to others, hardly a program would run there. */
const SHARED = new Set(
  (
    '/ /bin /boot /etc /home /lib /lib64 /media /mnt /opt /run /sbin /srv /usr /usr/bin /usr/lib /usr/local /usr/local/bin /usr/sbin /usr/share ' +
    '/var /var/cache /var/lib /var/log /var/run /var/spool /Users'
  ).split(' '),
)

/**
 * Replaces a file in one step: a reader sees the old content or the new, also after a crash. The mode holds whatever the umask is.
 * A symbolic link is replaced, not followed. Throws `failed_precondition` when the path is a directory; errors of the system pass.
 */
export async function writeFileAtomic(path: string, content: string | Uint8Array, { mode = 0o600 }: { mode?: number } = {}): Promise<void> {
  if ((await findStatus(path))?.isDirectory()) throw new AppError('failed_precondition', `cannot write ${path}: it is a directory`)
  const directory = dirname(path)
  const temporary = join(directory, `.tmp-${randomUUID()}`)
  try {
    await writeSynced(temporary, content, mode)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(directory)
}

/**
 * Makes sure that the directory exists with mode 0700 and is ours; missing parents are created with the default mode.
 * Throws `failed_precondition` when it is a symbolic link, no directory, belongs to another account, or is there for all of them.
 */
export async function ensurePrivateDirectory(path: string, { uid = process.getuid?.() }: { uid?: number | undefined } = {}): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
  const refuse = (why: string, fix: string): never => {
    throw new AppError('failed_precondition', `${path} ${why}`, { details: { fix: [fix] } })
  }
  const status = await lstat(path)
  if (status.isSymbolicLink()) refuse('is a symbolic link, which someone else could turn', 'name the directory itself')
  if (!status.isDirectory()) refuse('is not a directory', 'choose another place, or move the file away')
  // From here on the open handle, not the path, is what we look at: nobody can swap it in between.
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const opened = await handle.stat()
    if ((opened.mode & STICKY) !== 0 || SHARED.has(resolve(path)))
      refuse('is there for all accounts', `choose a directory of its own, such as ${join(path, 'sallyport')}`)
    if (uid !== undefined && opened.uid !== uid)
      refuse(`belongs to another account (uid ${opened.uid})`, 'choose another directory, or start as its owner')
    if ((opened.mode & 0o777) !== 0o700) await handle.chmod(0o700)
  } finally {
    await handle.close()
  }
}

/**
 * The text of a file (or of a pipe), undefined when there is none. Throws `invalid_argument` when it is larger than `maxBytes`
 * or not UTF-8; other errors of the system pass.
 * @param keepsMark whether a byte order mark stays, for a text that is written back.
 */
export async function readTextIfPresent(
  path: string,
  { maxBytes = DEFAULT_MAX_BYTES, keepsMark = false }: { maxBytes?: number; keepsMark?: boolean } = {},
): Promise<string | undefined> {
  let handle: FileHandle
  try {
    handle = await open(path, constants.O_RDONLY)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    return decode(await readBounded(handle, path, maxBytes), path, keepsMark)
  } finally {
    await handle.close()
  }
}

async function readBounded(handle: FileHandle, path: string, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let total = 0
  while (true) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(65_536), 0, 65_536, null)
    if (bytesRead === 0) return Buffer.concat(chunks)
    total += bytesRead
    if (total > maxBytes) throw new AppError('invalid_argument', `${path} is larger than the ${maxBytes} bytes accepted`)
    chunks.push(buffer.subarray(0, bytesRead))
  }
}

function decode(bytes: Buffer, path: string, keepsMark: boolean): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: keepsMark }).decode(bytes)
  } catch (cause) {
    throw new AppError('invalid_argument', `${path} is not UTF-8 text`, { cause })
  }
}

async function writeSynced(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  // "wx": created here or not at all (O_EXCL), so that no link laid out for us is followed.
  const handle = await open(path, 'wx', mode)
  try {
    await handle.chmod(mode)
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the rename itself survive a power cut. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function findStatus(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
