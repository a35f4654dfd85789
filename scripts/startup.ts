import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { z } from 'zod'

// How much CPU the bundled commands need to start: user and system time, the best and the median of ten runs.
// Prints figures and judges nothing; `npm run build` first.

const ROOT = join(import.meta.dirname, '..')
const RUNS = 10
const COMMANDS: readonly (readonly string[])[] = [
  ['tsh', 'mcp', 'ls', '--help'],
  ['tsh', '--version'],
  ['tctl', '--help'],
  ['sallyport', 'version'],
]

/** Prints the process's own CPU time at its end, in microseconds, as the last line of standard error. */
const METER =
  "data:text/javascript,process.on('exit',()=>{const{user,system}=process.cpuUsage();process.stderr.write('\\n'+(user+system))})"

const bare = measure(['--eval', ''])
process.stdout.write(`${'node alone'.padEnd(24)} ${renderTimes(bare)}\n`)
for (const [name = '', ...words] of COMMANDS) {
  const times = measure([join(ROOT, 'dist', `${name}.js`), ...words])
  process.stdout.write(`${[name, ...words].join(' ').padEnd(24)} ${renderTimes(times)}\n`)
}

/** CPU milliseconds of each run, in ascending order. */
function measure(args: readonly string[]): number[] {
  const times = Array.from({ length: RUNS }, () => {
    const { status, stderr } = spawnSync(process.execPath, ['--import', METER, ...args], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${stderr}`)
    return z.coerce.number().positive().parse(stderr.trimEnd().split('\n').at(-1)) / 1000
  })
  return times.toSorted((left, right) => left - right)
}

function renderTimes(times: readonly number[]): string {
  return `best ${(times[0] ?? Number.NaN).toFixed(0)} ms, median ${(times[Math.floor(times.length / 2)] ?? Number.NaN).toFixed(0)} ms CPU`
}
