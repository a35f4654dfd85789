import { execFile } from 'node:child_process'
import { AppError } from '../../lib/errors.ts'

/** The value of a label: the first line that a command writes. @throws AppError with the reason when it has none. */
export type LabelCommand = (command: readonly string[]) => Promise<string>

const DEADLINE_MS = 10_000
const MAX_OUTPUT_BYTES = 64 * 1024
const MAX_CHARACTERS = 255
/** Nothing else of our environment is passed on. */
const ENVIRONMENT = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'TZ']

/** Runs commands without a shell, as the account of the agent. */
export function createLabelCommand(env: Readonly<Record<string, string | undefined>>): LabelCommand {
  const passed = Object.fromEntries(ENVIRONMENT.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
  const limits = { timeout: DEADLINE_MS, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES, encoding: 'utf8' } as const
  return ([command = '', ...args]) =>
    new Promise((resolve, reject) => {
      execFile(command, args, { env: passed, cwd: '/', ...limits }, (error, stdout) => {
        const line = stdout.split('\n', 1)[0]?.trim() ?? ''
        if (error) reject(new AppError('unavailable', `${command}: ${reasonOf(error)}`, { cause: error }))
        else if (line.length > MAX_CHARACTERS)
          reject(new AppError('invalid_argument', `${command}: its first line is too long for a label`))
        else resolve(line)
      })
    })
}

function reasonOf({ code, killed }: { code?: string | number | null | undefined; killed?: boolean | undefined }): string {
  if (code === 'ENOENT') return 'there is no such command'
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return `it writes more than ${MAX_OUTPUT_BYTES} bytes`
  if (killed === true) return `it did not end within ${DEADLINE_MS / 1000} s`
  return `it ended with ${code}`
}
