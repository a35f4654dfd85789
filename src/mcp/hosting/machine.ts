import type { RunCommand } from './run-command.ts'

/** What this machine offers to start processes; each program by its absolute path, undefined when it is not here or does not work. */
export interface Programs {
  sh: string | undefined
  /** Of util-linux (BusyBox's lacks the options we need). */
  setpriv: string | undefined
  prlimit: string | undefined
  /** `unshare` that can make a process namespace, and what makes it one that we may make. */
  unshare: { path: string; options: readonly string[] } | undefined
  bwrap: string | undefined
  env: string | undefined
}

/** The account the agent itself runs as, and its machine. */
export interface Self {
  uid: number
  name: string
  hostname: string
  programs: Programs
  /** Why there can be no sandbox here, and what would help; undefined when there can. */
  sandboxFault: string | undefined
}

/** Learns once what works here, by doing it with a program that does nothing. */
export async function probeSelf(run: RunCommand, account: { uid: number; name: string; hostname: string }): Promise<Self> {
  const found = await findPrograms(run)
  const [sh, setpriv, prlimit, unshare, bwrap, env] = PROGRAMS.map((name) => found.get(name))
  const works = async (program: string | undefined, ...args: string[]): Promise<boolean> =>
    program !== undefined && (await run(program, args)).code === 0
  const programs: Programs = {
    sh,
    setpriv: (await works(setpriv, '--pdeathsig', 'KILL', '--', 'true')) ? setpriv : undefined,
    prlimit: (await works(prlimit, '--core=0', '--', 'true')) ? prlimit : undefined,
    unshare: await findNamespaces(unshare, account.uid, works),
    bwrap: undefined,
    env: (await works(env, '--default-signal=INT', 'true')) ? env : undefined,
  }
  const sandboxFault = await findSandboxFault(programs, bwrap, account, run)
  return { ...account, programs: { ...programs, bwrap: sandboxFault === undefined ? bwrap : undefined }, sandboxFault }
}

const PROGRAMS = ['sh', 'setpriv', 'prlimit', 'unshare', 'bwrap', 'env'] as const

async function findPrograms(run: RunCommand): Promise<Map<string, string>> {
  const { stdout } = await run('sh', ['-c', 'for name; do command -v -- "$name" || echo; done', 'sh', ...PROGRAMS])
  const paths = stdout.split('\n')
  return new Map(PROGRAMS.flatMap((name, index) => (paths[index]?.startsWith('/') ? [[name, paths[index]]] : [])))
}

const NAMESPACE = ['--pid', '--fork', '--kill-child=KILL', '--mount-proc']

async function findNamespaces(
  path: string | undefined,
  uid: number,
  works: (program: string | undefined, ...args: string[]) => Promise<boolean>,
): Promise<Programs['unshare']> {
  // Without root it takes a user namespace, in which setuid programs do not work.
  const options = uid === 0 ? NAMESPACE : ['--user', '--map-current-user', ...NAMESPACE]
  return path !== undefined && (await works(path, ...options, '--', 'true')) ? { path, options } : undefined
}

async function findSandboxFault(
  { sh, setpriv, prlimit, env }: Programs,
  bwrap: string | undefined,
  { uid, hostname }: { uid: number; hostname: string },
  run: RunCommand,
): Promise<string | undefined> {
  if (!bwrap) return `bubblewrap is not installed on ${hostname}: install it (package bubblewrap) and start the agent again`
  if (!sh || !env || !setpriv || !prlimit)
    return `a sandbox needs setpriv and prlimit (package util-linux) and env (coreutils 8.31 or newer) on ${hostname}`
  const trial = [
    bwrap,
    '--ro-bind',
    '/',
    '/',
    '--dev',
    '/dev',
    '--proc',
    '/proc',
    '--perms',
    '1777',
    '--tmpfs',
    '/tmp',
    '--tmpfs',
    '/var/tmp',
    '--tmpfs',
    '/run',
  ]
  const { code, stdout } = await run(sh, ['-c', '"$@" 2>&1', 'sh', ...trial, ...SANDBOX_NAMESPACES, '--unshare-net', '--', env, 'true'])
  if (code === 0) return undefined
  const said = stdout.trim().slice(0, 200) || 'it ended without a word'
  const remedy =
    uid === 0
      ? 'run it on the host, or in a container that may make namespaces and mounts'
      : 'allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or run the agent as root'
  return `bubblewrap does not work on ${hostname} (${said}): ${remedy}`
}

/** What every sandbox has of its own; it ends with whoever started it. */
export const SANDBOX_NAMESPACES = ['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--die-with-parent'] as const
