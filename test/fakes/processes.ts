import { readFileSync, readdirSync } from 'node:fs'

export interface ProcessRow {
  pid: number
  parent: number
  /** One letter of proc(5): R, S, Z … */
  state: string
  command: string
}

/** Whether this machine shows its processes under /proc. */
export const hasProc = process.platform === 'linux'

/** All processes of this machine, those without a command line (zombies) included. */
export function listProcesses(): ProcessRow[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        // The name of the program stands in parentheses and may hold spaces.
        const [state = '', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')
        return [{ pid: Number(name), parent: Number(parent), state, command }]
      } catch {
        // It ended while we looked.
        return []
      }
    })
}
