import { expect } from 'vitest'
import { bin, runProgram } from './programs.ts'

/** What `tctl` prints as the administrator of a cluster on this machine; it has to succeed, without a word on standard error. */
export async function runTctl(dataDirectory: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram(bin('tctl'), [`--data-dir=${dataDirectory}`, ...args])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return stdout
}
