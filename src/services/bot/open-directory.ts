import { constants, existsSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { lstat, mkdir, open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { AppError } from '../../lib/errors.ts'
import type { DirectoryConfig } from './destination.ts'

export interface OpenDirectory {
  handle: FileHandle
  /** A path of an entry that stays in this very directory, whatever happens to the path that led here. */
  entry(name: string): string
}

export interface OpenOptions {
  symlinks: DirectoryConfig['symlinks']
  /** Our account; tests are somebody else. */
  uid: number
  gid: number
  /** Told before each step down; tests swap components here. */
  onStep?: (path: string) => Promise<void>
}

/** open(2) of Linux: a handle to walk from, which needs no right to read the directory. */
const O_PATH = 0o10000000
const WALK = constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Opens a directory, which is made with mode 0700 when it is missing (parents 0755). With `secure` and `try-secure` every component is opened
 * from its parent's handle without following links, and must belong to root or to us and be closed to other writers, so that nobody else can
 * turn the path: not before, and not while we write. Where the system has no way to open from a handle, `try-secure` looks at each
 * component before, and `secure` throws. Every refusal is `failed_precondition`. The caller closes the handle.
 */
export async function openDirectory(path: string, options: OpenOptions): Promise<OpenDirectory> {
  const handles = process.platform === 'linux' && existsSync('/proc/self/fd')
  if (options.symlinks === 'insecure') return await openAsItIs(path, handles)
  if (handles) return anchored(await walk(path, options))
  if (options.symlinks === 'secure')
    throw new AppError('failed_precondition', `${path}: this system cannot open directories without a race: set symlinks to try-secure`)
  await inspect(path, options)
  return await openAsItIs(path, false)
}

async function openAsItIs(path: string, handles: boolean): Promise<OpenDirectory> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  return handles ? anchored(handle) : { handle, entry: (name) => `${path}/${name}` }
}

/** Linux resolves these names by the open file, not by the path it once had. */
function anchored(handle: FileHandle): OpenDirectory {
  return { handle, entry: (name) => `/proc/self/fd/${handle.fd}/${name}` }
}

async function walk(path: string, options: OpenOptions): Promise<FileHandle> {
  const names = splitPath(path)
  let at = await open('/', O_PATH | constants.O_DIRECTORY)
  let shown = ''
  try {
    for (const [index, name] of names.entries()) {
      shown += `/${name}`
      await options.onStep?.(shown)
      const next = await stepInto(at, name, shown, index === names.length - 1)
      await at.close()
      at = next
      checkOwner(await at.stat(), shown, options)
    }
    return at
  } catch (thrown) {
    await at.close()
    throw thrown
  }
}

async function stepInto(parent: FileHandle, name: string, shown: string, isLast: boolean): Promise<FileHandle> {
  const child = `/proc/self/fd/${parent.fd}/${name}`
  const flags = WALK | (isLast ? constants.O_RDONLY : O_PATH)
  for (let made = false; ; made = true) {
    try {
      return await open(child, flags)
    } catch (thrown) {
      if (hasCode(thrown, 'ENOENT') && !made) await makeDirectory(child, isLast)
      else throw await explainStep(thrown, child, shown)
    }
  }
}

async function makeDirectory(path: string, isLast: boolean): Promise<void> {
  try {
    await mkdir(path, { mode: isLast ? 0o700 : 0o755 })
  } catch (thrown) {
    if (!hasCode(thrown, 'EEXIST')) throw thrown
  }
}

async function explainStep(thrown: unknown, child: string, shown: string): Promise<unknown> {
  if (!hasCode(thrown, 'ELOOP') && !hasCode(thrown, 'ENOTDIR')) return thrown
  const isLink = (await lstat(child).catch(() => undefined))?.isSymbolicLink()
  return isLink === false ? new AppError('failed_precondition', `${shown} is not a directory`, { cause: thrown }) : linkRefusal(shown)
}

/** What can be had without handles: a link that is there now is seen, one that is put there in between is not. */
async function inspect(path: string, options: OpenOptions): Promise<void> {
  let shown = ''
  for (const name of splitPath(path)) {
    shown += `/${name}`
    const status = await lstat(shown).catch((thrown: unknown) => {
      if (hasCode(thrown, 'ENOENT')) return undefined
      throw thrown
    })
    if (!status) return
    if (status.isSymbolicLink()) throw linkRefusal(shown)
    if (!status.isDirectory()) throw new AppError('failed_precondition', `${shown} is not a directory`)
    checkOwner(status, shown, options)
  }
}

function splitPath(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.')
  if (names.length === 0 || names.includes('..'))
    throw new AppError('failed_precondition', `${path} is no path of a directory of its own: write it without ".."`)
  return names
}

/** What makes a path one that somebody else may have turned. */
type Suspicion = 'symlink' | 'owner' | 'mode'
const SUSPICIONS: readonly unknown[] = ['symlink', 'owner', 'mode'] satisfies Suspicion[]

/** Whether a refusal is about somebody else, not about a disk that is full. */
export function isSuspicious(thrown: unknown): boolean {
  return thrown instanceof AppError && SUSPICIONS.includes(thrown.details?.['reason'])
}

const STICKY = 0o1000

/** Whoever owns a directory, or may write to it, can put another in the place of what is in it. */
function checkOwner({ uid, gid, mode }: Stats, shown: string, own: OpenOptions): void {
  const fix = 'choose another directory, or set symlinks: insecure if those who can change it are to be trusted'
  const refuse = (reason: Suspicion, why: string): never => {
    throw new AppError('failed_precondition', `${shown} ${why}`, { details: { reason, fix: [fix] } })
  }
  if (uid !== 0 && uid !== own.uid) refuse('owner', `belongs to another account (uid ${uid}), which could put something else in its place`)
  if ((mode & STICKY) !== 0) return
  if ((mode & 0o002) !== 0) refuse('mode', 'can be written to by everybody')
  if ((mode & 0o020) !== 0 && gid !== 0 && gid !== own.gid) refuse('mode', `can be written to by another group (gid ${gid})`)
}

function linkRefusal(shown: string): AppError {
  return new AppError('failed_precondition', `${shown} is a symbolic link, which somebody else could turn`, {
    details: {
      reason: 'symlink' satisfies Suspicion,
      fix: ['write the path without it, or set symlinks: insecure if those who can change it are to be trusted'],
    },
  })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'there is no space left on its disk',
  EDQUOT: 'its quota is used up',
  EACCES: 'this account may not write there',
  EPERM: 'this account may not write there',
  EROFS: 'its file system is read-only',
  EIO: 'its disk has a fault',
}

/** What the system says of a directory, in words for who chose it; an AppError stays as it is. */
export function explainFault(thrown: unknown, path: string): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  const reason = thrown instanceof AppError ? undefined : (REASONS[code] ?? (code === '' ? undefined : code))
  return reason === undefined ? thrown : new AppError('failed_precondition', `cannot write to ${path}: ${reason}`, { cause: thrown })
}

export function hasCode(thrown: unknown, code: string): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === code
}
