import { execFile } from 'node:child_process'

/** Runs a small command to its end. `code` is undefined when the command does not exist or could not be run. */
export type RunCommand = (command: string, args: readonly string[]) => Promise<{ code: number | undefined; stdout: string }>

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
