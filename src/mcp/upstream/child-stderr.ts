import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { createStderrLines } from './stderr-tail.ts'
import { createTellingLine } from './telling-line.ts'

export interface StderrOptions {
  onStderr: (line: string) => void
  /** Takes out of a line what nobody may see. */
  hideSecrets: (line: string) => string
}

/** Read a second: who writes more waits, instead of keeping us busy. */
const STDERR_BYTES_A_SECOND = 1024 * 1024

/**
 * Gives what a process writes to stderr to `onStderr`, line by line, and keeps the one that tells most of its end. Nobody sees what `hideSecrets`
 * takes out.
 */
export function watchStderr(
  spawned: ChildProcessWithoutNullStreams,
  { onStderr, hideSecrets }: StderrOptions,
): { telling(): string | undefined } {
  const { stderr } = spawned
  const telling = createTellingLine()
  let room = STDERR_BYTES_A_SECOND
  let timer: NodeJS.Timeout | undefined
  const lines = createStderrLines((line) => {
    const shown = hideSecrets(line)
    telling.push(shown)
    onStderr(shown)
  })
  stderr.on('data', (chunk: Buffer) => {
    room -= chunk.length
    timer ??= setTimeout(() => {
      timer = undefined
      room = STDERR_BYTES_A_SECOND
      stderr.resume()
    }, 1000).unref()
    if (room < 0 && spawned.exitCode === null && spawned.signalCode === null) stderr.pause()
    lines.push(chunk)
  })
  spawned.once('exit', () => stderr.resume())
  stderr.on('end', () => lines.end())
  stderr.on('close', () => clearTimeout(timer))
  return { telling: () => telling.last() }
}
