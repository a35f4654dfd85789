import { readFileSync } from 'node:fs'

/** Ticks of `/proc` are hundredths of a second on every Linux that Node runs on (getconf CLK_TCK). */
const TICK_US = 10_000
const PAGE_KB = 4

/** CPU time in microseconds that a process has used, user and system, with its children, those that have ended too. 0 when it cannot be told. */
export function cpuMicroseconds(pid: number): number {
  const fields = readStat(pid)
  if (!fields) return 0
  // proc_pid_stat(5): 14 utime, 15 stime, 16 cutime, 17 cstime; counted from after the name, which is field 2.
  const own = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0)
  return own * TICK_US + childrenOf(pid).reduce((sum, child) => sum + cpuMicroseconds(child), 0)
}

/** Resident memory of the process alone, in MB. */
export function residentMegabytes(pid: number): number {
  const fields = readStat(pid)
  return fields ? (Number(fields[21]) * PAGE_KB) / 1024 : 0
}

function readStat(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`)
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`)
    .split(' ')
    .filter((text) => text.trim() !== '')
    .map(Number)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // it has ended, or this is no Linux
  }
}
