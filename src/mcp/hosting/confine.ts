import { AppError } from '../../lib/errors.ts'
import { parseDuration } from '../../lib/duration.ts'
import { findSize } from '../../lib/size.ts'
import type { Hosting } from '../../resources/hosting.ts'
import { changesUser } from '../upstream/host-user.ts'
import type { HostUser } from '../upstream/host-user.ts'
import { type Programs, SANDBOX_NAMESPACES, type Self } from './machine.ts'

/** How a process is started as somebody, held together with what it starts, and confined. */
export interface Launch {
  user: HostUser
  /** False when the agent runs as that user anyway. */
  changesUser: boolean
  /** The words before its command, the programs in it by absolute path. */
  prefix: readonly string[]
  /** What the program's signals become on their way to us: a program in between tells them as `128 + signal`. */
  isWrapped: boolean
}

/** Where a process tree is kept; see `Trees`. */
export interface Place {
  /** Files into which a process writes its pid to become a member. */
  entries: readonly string[]
  /** What the place itself limits. */
  limits: { memory: boolean; processes: boolean }
}

export interface ConfineOptions {
  user: HostUser
  self: Self
  hosting: Hosting
  place: Place | undefined
  cwd: string
  /** Directories that no sandbox may see: the agent's own. */
  hidden: readonly string[]
}

/**
 * The words that start a process as its host user, within its limits and confinement. What cannot be held is refused, never left out.
 *
 * Without a sandbox, the process dies with the agent (`PR_SET_PDEATHSIG`); what it started in turn dies with it where there is a place for
 * its tree, or a process namespace. The words are in the order of what they need: first what takes root, then the account, then the program.
 *
 * @throws AppError failed_precondition with the reason and the remedy.
 */
export function confine(options: ConfineOptions): Launch {
  const { user, self, hosting, place } = options
  const { programs } = self
  const changes = changesUser(user, self)
  const confinement = hosting.confinement ?? 'none'
  const isSandbox = confinement === 'sandbox'
  if (isSandbox && self.sandboxFault) throw refused(self.sandboxFault)
  if (confinement === 'process' && !programs.setpriv)
    throw refused(`confinement: process needs setpriv (package util-linux) on ${self.hostname}`)
  const namespace = isSandbox || !mayHaveNamespace(place, confinement, self) ? undefined : programs.unshare
  const prefix = [
    ...joinWords(programs, place),
    ...(isSandbox || namespace ? dieWithAgent(programs) : []),
    ...(namespace ? namespaceWords(namespace, programs) : []),
    ...limitWords(options),
    ...(isSandbox ? sandboxWords(options, changes) : []),
    ...identityWords(options, changes, isSandbox || namespace !== undefined),
  ]
  return { user, changesUser: changes, prefix, isWrapped: isSandbox || namespace !== undefined }
}

/** A user namespace would take the effect from setuid programs, which an unconfined server may want. */
function mayHaveNamespace(place: Place | undefined, confinement: string, self: Self): boolean {
  return (
    place === undefined &&
    self.programs.sh !== undefined &&
    self.programs.setpriv !== undefined &&
    (self.uid === 0 || confinement === 'process')
  )
}

/** What a shell puts into the environment by itself. */
const FORGET = 'unset PWD OLDPWD SHLVL _'

function joinWords({ sh }: Programs, place: Place | undefined): string[] {
  if (!place || place.entries.length === 0) return []
  const script = `while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; ${FORGET}; exec "$@"`
  return [sh ?? 'sh', '-c', script, 'sh', ...place.entries, '--']
}

function dieWithAgent({ setpriv }: Programs): string[] {
  return setpriv ? [setpriv, '--pdeathsig', 'KILL', '--'] : []
}

/** The first process of a namespace gets no signal it has no handler for: a shell takes that place, and the program the one below it. */
function namespaceWords({ path, options }: NonNullable<Programs['unshare']>, { sh }: Programs): string[] {
  return [path, ...options, '--', sh ?? 'sh', '-c', `${FORGET}; "$@"; exit $?`, 'sh']
}

function limitWords({ hosting: { limits, confinement = 'none' }, place, self, user }: ConfineOptions): string[] {
  const words: string[] = []
  const set = (name: string, value: number): number => words.push(`--${name}=${value}:${value}`)
  if (confinement !== 'none') set('core', 0)
  if (limits?.open_files !== undefined) set('nofile', limits.open_files)
  if (limits?.cpu_time !== undefined) set('cpu', Math.ceil(parseDuration(limits.cpu_time) / 1000))
  if (limits?.memory !== undefined && !place?.limits.memory) set('data', findSize(limits.memory) ?? 0)
  if (limits?.processes !== undefined && !place?.limits.processes) {
    if (user.uid === 0)
      throw refused(
        `limits.processes does not hold for root on ${self.hostname}, where the agent has no pids controller (cgroup): set another run_as_host_user`,
      )
    set('nproc', limits.processes)
  }
  if (words.length === 0) return []
  if (!self.programs.prlimit) throw refused(`the limits of the server need prlimit (package util-linux) on ${self.hostname}`)
  return [self.programs.prlimit, ...words, '--']
}

/** Where programs and libraries are, for a sandbox that may read only some paths. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/etc', '/opt']
const PRIVATE_TMP_BYTES = 256 * 2 ** 20

function sandboxWords({ self, hosting: { sandbox = {} }, cwd, hidden }: ConfineOptions, changes: boolean): string[] {
  const { sh, bwrap, env } = self.programs
  const { readable, writable = [], network = false } = sandbox
  const root = readable ? [...SYSTEM.flatMap((path) => ['--ro-bind-try', path, path]), '--dir', '/tmp'] : ['--ro-bind', '/', '/']
  const tmpfs = (path: string, mode: string): string[] => ['--perms', mode, '--size', String(PRIVATE_TMP_BYTES), '--tmpfs', path]
  const words = [
    ...root,
    '--dev',
    '/dev',
    '--proc',
    '/proc',
    ...tmpfs('/tmp', '1777'),
    ...tmpfs('/var/tmp', '1777'),
    // Sockets of the machine's services, which no file mode and no missing network keeps anybody from.
    ...tmpfs('/run', '0755'),
    ...(network ? ['--ro-bind-try', '/run/systemd/resolve', '/run/systemd/resolve'] : ['--unshare-net']),
    ...(readable ?? []).flatMap((path) => ['--ro-bind', path, path]),
    ...writable.flatMap((path) => ['--bind', path, path]),
    ...hidden.flatMap((path) => tmpfs(path, '0700')),
    ...SANDBOX_NAMESPACES,
    '--cap-drop',
    'ALL',
    // For the last step, which drops them.
    ...(self.uid === 0 ? ['--cap-add', 'CAP_SETPCAP'] : []),
    ...(changes ? ['--cap-add', 'CAP_SETUID', '--cap-add', 'CAP_SETGID'] : []),
    '--chdir',
    cwd,
  ]
  // SIGINT is for the program, not for what stands around it: that would end, and the program with it at once.
  return [
    sh ?? 'sh',
    '-c',
    `trap '' INT; ${FORGET}; exec "$@"`,
    'sh',
    bwrap ?? 'bwrap',
    ...words,
    '--',
    env ?? 'env',
    '--default-signal=INT',
  ]
}

function identityWords({ user, self, hosting: { confinement = 'none' } }: ConfineOptions, changes: boolean, isHeld: boolean): string[] {
  const { setpriv } = self.programs
  if (!setpriv) return []
  const account = changes ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups', '--inh-caps=-all'] : []
  const privileges = confinement === 'none' ? [] : ['--no-new-privs', ...(changes ? [] : ['--inh-caps=-all'])]
  const bounding = confinement !== 'none' && self.uid === 0 ? ['--bounding-set=-all'] : []
  const death = isHeld ? [] : ['--pdeathsig', 'KILL']
  const words = [...account, ...privileges, ...bounding, ...death]
  return words.length > 0 ? [setpriv, ...words, '--'] : []
}

function refused(why: string): AppError {
  return new AppError('failed_precondition', why)
}
