import { execFile } from 'node:child_process'
import { AppError } from '../../lib/errors.ts'

/** An account of this machine. */
export interface HostUser {
  name: string
  uid: number
  gid: number
  home: string
  shell: string
}

/** The account the agent itself runs as, and what this machine offers to start processes. */
export interface Self {
  uid: number
  name: string
  hostname: string
  /** Whether `setpriv` of util-linux is there (not BusyBox's, which lacks the options we need). */
  setpriv: boolean
}

/** How a process is started as somebody: the words that stand before its command. */
export interface Launch {
  user: HostUser
  /** False when the agent runs as that user anyway. */
  changesUser: boolean
  prefix: readonly string[]
}

/** Runs a small command to its end. `code` is undefined when the command does not exist or could not be run. */
export type RunCommand = (command: string, args: readonly string[]) => Promise<{ code: number | undefined; stdout: string }>

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
 * The words that start a process as `user`. Never falls back to another account. Under `setpriv` the process keeps the supplementary groups
 * of its user and is killed when the agent dies (`PR_SET_PDEATHSIG`). That holds for the process itself only: what it started in turn sees
 * just its pipes close when the agent is killed with SIGKILL.
 *
 * @throws AppError failed_precondition when the agent may not become that user.
 */
export function launchAs(user: HostUser, self: Self): Launch {
  if (user.uid === self.uid) return { user, changesUser: false, prefix: self.setpriv ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [] }
  if (self.uid !== 0)
    throw new AppError(
      'failed_precondition',
      `the agent runs as ${self.name} and may not start processes as ${user.name}: run it as root or set run_as_host_user: ${self.name}`,
    )
  if (!self.setpriv)
    throw new AppError(
      'failed_precondition',
      `starting processes as ${user.name} needs setpriv (package util-linux) on ${self.hostname}: install it or set run_as_host_user: ${self.name}`,
    )
  const identity = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups', '--inh-caps=-all']
  return { user, changesUser: true, prefix: ['setpriv', ...identity, '--pdeathsig', 'KILL', '--'] }
}

/** Learns once whether `setpriv` works here. */
export async function probeSelf(run: RunCommand, account: { uid: number; name: string; hostname: string }): Promise<Self> {
  const { code } = await run('setpriv', ['--pdeathsig', 'KILL', '--', 'true'])
  return { ...account, setpriv: code === 0 }
}

/** `RunCommand` over real processes, with `env` and a deadline of ten seconds. */
export function createRunCommand(env: Readonly<Record<string, string | undefined>>): RunCommand {
  return (command, args) =>
    new Promise((resolve) => {
      execFile(command, [...args], { env: { ...env }, timeout: 10_000, maxBuffer: 64 * 1024, encoding: 'utf8' }, (error, stdout) => {
        const code = error ? error.code : 0
        resolve({ code: typeof code === 'number' ? code : undefined, stdout })
      })
    })
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
