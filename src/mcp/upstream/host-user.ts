import { AppError } from '../../lib/errors.ts'
import type { Self } from '../hosting/machine.ts'
import type { RunCommand } from '../hosting/run-command.ts'

/** An account of this machine. */
export interface HostUser {
  name: string
  uid: number
  gid: number
  home: string
  shell: string
}

/**
 * Finds an account by name or numeric uid: through `getent passwd`, so that directory services count too, else through `id` (macOS).
 *
 * @throws AppError failed_precondition when there is no such account.
 */
export async function resolveHostUser(name: string, run: RunCommand, hostname: string): Promise<HostUser> {
  const user = ACCOUNT.test(name) ? await findAccount(name, run) : undefined
  if (!user) throw new AppError('failed_precondition', `host user ${JSON.stringify(name)} does not exist on ${hostname}`)
  return user
}

/**
 * Whether a process of `user` has to change its account to become that. Never falls back to another account.
 *
 * @throws AppError failed_precondition when the agent may not become that user.
 */
export function changesUser(user: HostUser, self: Self): boolean {
  if (user.uid === self.uid) return false
  if (self.uid !== 0)
    throw new AppError(
      'failed_precondition',
      `the agent runs as ${self.name} and may not start processes as ${user.name}: run it as root or set run_as_host_user: ${self.name}`,
    )
  if (!self.programs.setpriv)
    throw new AppError(
      'failed_precondition',
      `starting processes as ${user.name} needs setpriv (package util-linux) on ${self.hostname}: install it or set run_as_host_user: ${self.name}`,
    )
  return true
}

/** Account names as directory services allow them; never one that a command would take for an option. */
const ACCOUNT = /^[\p{L}\p{N}_.][\p{L}\p{N}_.@+\\$-]{0,255}$/u

async function findAccount(name: string, run: RunCommand): Promise<HostUser | undefined> {
  const entry = await run('getent', ['passwd', '--', name])
  if (entry.code === 0) return parsePasswd(entry.stdout, 7)
  // getent says 2 for an unknown key; without a code the command is missing.
  if (entry.code !== undefined) return undefined
  const bsd = await run('id', ['-P', name])
  if (bsd.code === 0) return parsePasswd(bsd.stdout, 10)
  const [uid, gid, login] = [await run('id', ['-u', name]), await run('id', ['-g', name]), await run('id', ['-un', name])]
  if (uid.code !== 0 || gid.code !== 0 || login.code !== 0) return undefined
  return checkAccount({ name: login.stdout.trim(), uid: toId(uid.stdout), gid: toId(gid.stdout), home: '/', shell: '/bin/sh' })
}

/** One line of passwd(5), 7 fields, or of BSD's master.passwd(5), 10 fields; home and shell are the last two in both. */
function parsePasswd(text: string, fieldCount: number): HostUser | undefined {
  const fields = (text.split('\n', 1)[0] ?? '').split(':')
  if (fields.length !== fieldCount) return undefined
  const [name = '', , uid = '', gid = ''] = fields
  return checkAccount({ name, uid: toId(uid), gid: toId(gid), home: fields.at(-2) || '/', shell: fields.at(-1) || '/bin/sh' })
}

function checkAccount(user: HostUser): HostUser | undefined {
  return user.name && Number.isSafeInteger(user.uid) && Number.isSafeInteger(user.gid) ? user : undefined
}

function toId(text: string): number {
  return /^\d{1,10}$/.test(text.trim()) ? Number(text) : Number.NaN
}
