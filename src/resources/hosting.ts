import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { findSize } from '../lib/size.ts'
import { secretNameSchema } from './secret.ts'

/** Programs that start the server as its user read these: one who could set them would decide what they do. */
const NEVER_SET = /^(LD_.*|DYLD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|IFS)$/
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/
export const MAX_VARIABLES = 200
const MAX_VALUE = 32_768

/** Why an environment variable may not be given to an MCP server, if so. */
export function findVariableFault(name: string, value: string): string | undefined {
  if (!NAME.test(name)) return 'is no name of an environment variable (letters, digits and _)'
  if (NEVER_SET.test(name)) return 'may not be set: it would change the programs that start the server'
  if (value.includes('\0')) return 'has a value with a NUL character'
  return value.length > MAX_VALUE ? `has a value of more than ${MAX_VALUE} characters` : undefined
}

const absolutePath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path')
  .refine((path) => !path.split('/').includes('..'), 'must not contain ..')

const writablePath = absolutePath.refine(
  (path) => !/^\/+(?:(?:proc|sys|dev)(?:\/|$)|$)/.test(path),
  'must not be /, or lie in /proc, /sys or /dev',
)

function duration(least: string, most: string) {
  const [min, max] = [findDuration(least) ?? 0, findDuration(most) ?? 0]
  return z.string().refine((text) => {
    const ms = findDuration(text)
    return ms !== undefined && ms >= min && ms <= max
  }, `must be a duration from ${least} to ${most}`)
}

const memorySize = z.string().refine((text) => {
  const bytes = findSize(text)
  return bytes !== undefined && bytes >= 2 ** 20 && bytes <= 2 ** 40
}, 'must be a size from 1MiB to 1024GiB, such as 512MiB')

const environmentSchema = z.record(z.string(), z.string()).superRefine((env, context) => {
  if (Object.keys(env).length > MAX_VARIABLES)
    context.addIssue({ code: 'custom', path: [], message: `has more than ${MAX_VARIABLES} variables` })
  for (const [name, value] of Object.entries(env)) {
    const fault = findVariableFault(name, value)
    if (fault) context.addIssue({ code: 'custom', path: [name], message: fault })
  }
})

const limitsSchema = z.strictObject({
  memory: memorySize
    .optional()
    .describe('Of one process tree, such as `512MiB`; where the agent has no memory controller (cgroup), of each of its processes.'),
  processes: z
    .int()
    .min(1)
    .max(100_000)
    .optional()
    .describe('Of one process tree, threads included; where the agent has no pids controller (cgroup), of the host user in all.'),
  open_files: z.int().min(16).max(1_048_576).optional().describe('Of each process.'),
  wall_time: duration('1s', '30d').optional().describe('After this time a process is ended, whatever it does.'),
  cpu_time: duration('1s', '30d').optional().describe('Processor time of each process; one that has used it is killed.'),
})

const sandboxSchema = z.strictObject({
  writable: z.array(writablePath).max(64).optional().describe('Paths that can be written, if the host user may; all else is read-only.'),
  readable: z
    .array(absolutePath)
    .max(64)
    .optional()
    .describe(
      'Unless given, every path can be read that the host user may read. Given: only these, those in writable, and the system (/usr, /bin, /lib, /etc, /opt).',
    ),
  network: z.boolean().optional().describe('Whether it has a network; false unless given.'),
})

/** The part of `spec.mcp` that says how a stdio server is run. All of it may be left out. */
export const hostingFields = {
  env: environmentSchema
    .optional()
    .describe('Environment variables, on top of the few every server gets. Not for secrets: everybody who may see the server sees them.'),
  env_from: z
    .array(
      z.union([
        z.strictObject({
          file: absolutePath.describe(
            'On the agent’s machine, lines of `NAME=value`; owned by root or the agent’s user, not readable by others, and in directories that only they may write to.',
          ),
        }),
        z.strictObject({ secret: secretNameSchema.describe('Name of a `secret` whose value is such lines.') }),
      ]),
    )
    .max(16)
    .optional()
    .describe(
      'Files and secrets with environment variables, read by the agent whenever it starts the server, later ones over earlier ones. Their values are in no log or event.',
    ),
  cwd: absolutePath
    .optional()
    .describe(
      'Working directory; unless given, the home of run_as_host_user if that is another account, else the agent’s own, and / in a sandbox.',
    ),
  lifecycle: z
    .enum(['per_session', 'shared'])
    .optional()
    .describe(
      '`per_session` (unless given): a process for each session. `shared`: one for all callers, for servers that speak MCP 2026-07-28 or newer only.',
    ),
  restart: z
    .enum(['never', 'on_failure', 'always'])
    .optional()
    .describe(
      'Of a shared server that has ended: `on_failure` (unless given) starts it again when it is needed, `always` at once, `never` not before the app is changed.',
    ),
  idle_stop: duration('1s', '30d').optional().describe('A process that is not used for so long is ended; the next message starts another.'),
  warm: z
    .int()
    .min(0)
    .max(32)
    .optional()
    .describe(
      'Spare processes that are started, and initialized as sessions of late were, before somebody comes, for servers that are slow to start. Each session still has its own.',
    ),
  limits: limitsSchema.optional().describe('What one process, or tree of processes, of the server may take.'),
  confinement: z
    .enum(['none', 'process', 'sandbox'])
    .optional()
    .describe(
      '`none` (unless given): as its host user. `process`: without capabilities, and setuid programs gain nothing. `sandbox`: bubblewrap with its own process tree and /tmp, a read-only file system, and no network.',
    ),
  sandbox: sandboxSchema.optional().describe('What a sandbox lets through; only with `confinement: sandbox`.'),
  health_check: z
    .enum(['on', 'off'])
    .optional()
    .describe(
      'Whether the agent starts the server to ask it for its tools: when it is registered (`on` for shared servers unless given), and after failures (unless `off`). Turn it off where a start has effects.',
    ),
}

export type Hosting = { [K in keyof typeof hostingFields]?: z.infer<(typeof hostingFields)[K]> }

/** Fields that belong together, and do not. */
export function findHostingFault(hosting: Hosting): { path: string[]; message: string } | undefined {
  const isShared = hosting.lifecycle === 'shared'
  if (hosting.sandbox && hosting.confinement !== 'sandbox') return { path: ['sandbox'], message: 'needs confinement: sandbox' }
  if (hosting.restart && !isShared) return { path: ['restart'], message: 'is for lifecycle: shared; a process of one session ends with it' }
  if (hosting.warm && isShared)
    return { path: ['warm'], message: 'is for lifecycle: per_session; a shared server has one process: use restart: always' }
  if (hosting.restart === 'always' && hosting.idle_stop) return { path: ['idle_stop'], message: 'contradicts restart: always' }
  return undefined
}

/** The first field of this part that is set, if any: for servers that are not run by the agent. */
export function findHostingField(hosting: Hosting): string | undefined {
  return Object.keys(hostingFields).find((name) => Object.hasOwn(hosting, name))
}
