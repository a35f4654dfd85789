import { AppError } from './errors.ts'

const PLACE = 'choose another place'

/** What the errors mean that a file system gives (errno(3)), and what helps. */
const MEANINGS: Readonly<Record<string, [why: string, fix: string]>> = {
  EACCES: ['this account may not do that there', `${PLACE}, or run this as an account that may`],
  EPERM: ['this account may not do that there', `${PLACE}, or run this as an account that may`],
  EROFS: ['the file system is read-only', PLACE],
  ENOSPC: ['the disk is full', `make room on the disk, or ${PLACE}`],
  EDQUOT: ['the disk quota of this account is used up', `make room, or ${PLACE}`],
  ENOENT: ['it does not exist', 'check the path'],
  ENOTDIR: ['a part of the path is no directory', 'check the path'],
  EISDIR: ['it is a directory', 'name a file'],
  ELOOP: ['its symbolic links lead nowhere', 'check the path'],
  ENAMETOOLONG: ['the path is too long', 'choose a shorter one'],
  EMFILE: ['this process has too many open files', 'raise the limit: ulimit -n'],
  ENFILE: ['this machine has too many open files', 'end programs, or raise fs.file-max'],
}

const DOINGS: Readonly<Record<string, string>> = {
  mkdir: 'make the directory',
  open: 'open',
  scandir: 'list the directory',
  rename: 'replace',
  unlink: 'remove',
  chmod: 'change the mode of',
  lstat: 'look at',
  stat: 'look at',
  access: 'look at',
}

/** Says in words what a call on a path met with, as `failed_precondition`; undefined when it is no such error. */
export function describeSystemError(thrown: unknown): AppError | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown) || typeof thrown.code !== 'string') return undefined
  const meaning = Object.hasOwn(MEANINGS, thrown.code) ? MEANINGS[thrown.code] : undefined
  const path = 'path' in thrown && typeof thrown.path === 'string' ? thrown.path : undefined
  // Without a path only what has nothing to do with one is worth saying.
  if (!meaning || (path === undefined && thrown.code !== 'ENOSPC' && thrown.code !== 'EMFILE' && thrown.code !== 'ENFILE')) return undefined
  const [why, fix] = meaning
  const call = 'syscall' in thrown && typeof thrown.syscall === 'string' ? thrown.syscall : ''
  const doing = (Object.hasOwn(DOINGS, call) ? DOINGS[call] : undefined) ?? 'use'
  const message = path === undefined ? why : `cannot ${doing} ${path}: ${why}`
  return new AppError('failed_precondition', message, { cause: thrown, details: { fix: [fix] } })
}
