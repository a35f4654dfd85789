import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import { findSize } from '../../lib/size.ts'
import type { App } from '../../resources/app.ts'
import { startChild } from '../upstream/child.ts'
import type { Child, ChildRegistry } from '../upstream/child.ts'
import { changesUser, resolveHostUser } from '../upstream/host-user.ts'
import type { RunCommand } from './run-command.ts'
import { childEnvironment } from './child-env.ts'
import { directoryOf } from './places.ts'
import { confine } from './confine.ts'
import type { Self } from './machine.ts'
import { readSecretFiles } from './secret-files.ts'
import type { StartQueue } from './start-queue.ts'
import type { Trees } from './trees.ts'

/** What it takes to run programs as host users. */
export interface HostDeps {
  log: Logger
  /** The account the agent runs as, and what its machine offers. */
  self: Self
  run: RunCommand
  /** The agent's environment; children get an allow list of it. */
  env: Readonly<Record<string, string | undefined>>
  registry: ChildRegistry
  /** Keeps process trees together, where the machine can. */
  trees?: Trees | undefined
  /** Lets a few start at a time. */
  starts?: StartQueue | undefined
  /** Directories that no sandbox may see: the agent's own. */
  hidden?: readonly string[]
  /** The value of a secret of the cluster, for `env_from`; rejects with the reason. */
  readSecret?: ((name: string) => string | Promise<string>) | undefined
}

/** One process that is wanted. */
export interface Start {
  /** For log lines. */
  caller: string
  /** What it is told of who calls. */
  env?: Readonly<Record<string, string>> | undefined
  onStderr(line: string): void
}

/**
 * Starts the program of a stdio server as its spec says.
 *
 * @throws AppError failed_precondition with the reason when that cannot be; never started as anybody else, or with less confinement.
 */
export async function startHosted(app: App, deps: HostDeps, start: Start): Promise<Child> {
  const turn = await deps.starts?.enter()
  try {
    const child = await startNow(app, deps, start)
    // It keeps its turn for the time in which programs load.
    const timer = setTimeout(() => turn?.release(), SETTLE_MS)
    void child.exited.then(() => {
      clearTimeout(timer)
      turn?.release()
    })
    return child
  } catch (thrown) {
    turn?.release()
    throw thrown
  }
}

const SETTLE_MS = 250

async function startNow(app: App, deps: HostDeps, { caller, env: told = {}, onStderr }: Start): Promise<Child> {
  const { command, args = [], run_as_host_user: account, ...hosting } = app.spec.mcp ?? {}
  const { self, log, registry, trees, hidden = [] } = deps
  const server = app.metadata.name
  if (!command || !account)
    throw new AppError('failed_precondition', `MCP server "${server}" needs spec.mcp.command and spec.mcp.run_as_host_user`)
  const user = await resolveHostUser(account, deps.run, self.hostname)
  const changes = changesUser(user, self)
  const isSandbox = hosting.confinement === 'sandbox'
  // Ours, or the account's home, may not be in there.
  const cwd = hosting.cwd ?? (isSandbox ? '/' : await directoryOf(user, changes))
  const secrets = await readSecretFiles(hosting.env_from ?? [], self.uid, deps.readSecret)
  const set = { ...hosting.env, ...Object.fromEntries(secrets), ...told }
  const env = childEnvironment({ own: deps.env, user, changesUser: changes, set, isSandbox })
  const confined = { user, self, hosting, cwd, hidden }
  // Refused before anything is made.
  confine({ ...confined, place: trees && { entries: [], limits: trees.limits } })
  const tree = await trees?.create({ memoryBytes: findSize(hosting.limits?.memory ?? ''), processes: hosting.limits?.processes })
  try {
    return await startChild({
      command,
      args,
      launch: confine({ ...confined, place: tree }),
      env,
      cwd,
      tree,
      wallTimeMs: hosting.limits?.wall_time === undefined ? undefined : parseDuration(hosting.limits.wall_time),
      registry,
      log,
      hideSecrets: createRedactor({ knownSecrets: secrets.values() }).text,
      onStderr: (line) => {
        onStderr(line)
        log.debug('stderr of an MCP server', { server, caller, line })
      },
    })
  } catch (thrown) {
    await tree?.end()
    throw thrown
  }
}
