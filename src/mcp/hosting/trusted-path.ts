import type { Stats } from 'node:fs'
import { lstat, readlink } from 'node:fs/promises'

/** As many as Linux follows. */
const MAX_LINKS = 40

/**
 * The first step on the way to an absolute path, through all symbolic links, that somebody else than root and `uid` could turn elsewhere; undefined
 * when there is none, and then there will be none later. Rejects as lstat(2) does.
 */
export async function findTurnable(path: string, uid: number): Promise<string | undefined> {
  const left = stepsOf(path)
  let at = '/'
  for (let links = 0; ;) {
    const status = await lstat(at)
    if (isOthers(status, uid)) return at
    if (status.isSymbolicLink()) {
      if (++links > MAX_LINKS) return at
      const target = await readlink(at)
      left.unshift(...stepsOf(target))
      at = target.startsWith('/') ? '/' : parentOf(at)
    }
    const next = left.shift()
    if (next === undefined) return undefined
    at = next === '..' ? parentOf(at) : `${at === '/' ? '' : at}/${next}`
  }
}

function stepsOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')))
}

const STICKY = 0o1000

/** Whoever owns something may replace it, and so may those who can write to the directory it is in; what is sticky keeps its entries from them. */
function isOthers(status: Stats, uid: number): boolean {
  const { uid: owner, gid, mode } = status
  if (owner !== 0 && owner !== uid) return true
  if (!status.isDirectory() || (mode & STICKY) !== 0) return false
  // The group of an account that is not root's is mostly its own.
  const isOwnGroup = gid === 0 || (uid !== 0 && owner === uid)
  return (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && !isOwnGroup)
}
