import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import type { HostUser } from '../upstream/host-user.ts'

/** Where a program of this account starts: our own directory, or the home of another account. */
export async function directoryOf(user: HostUser, changesUser: boolean): Promise<string> {
  if (!changesUser) return process.cwd()
  return (await isDirectory(user.home)) ? user.home : '/'
}

export async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true
}

/** Whether `command` is a program, as it is found along `path` from `cwd`. */
export async function isExecutable(command: string, path: string, cwd: string): Promise<boolean> {
  if (command.includes('\0')) return false
  const candidates = command.includes('/')
    ? [resolve(cwd, command)]
    : path.split(delimiter).map((directory) => join(resolve(cwd, directory), command))
  for (const candidate of candidates) {
    const found = await access(candidate, constants.X_OK)
      .then(() => stat(candidate))
      .catch(() => undefined)
    if (found?.isFile()) return true
  }
  return false
}
