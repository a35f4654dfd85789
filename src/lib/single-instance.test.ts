import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { acquireInstanceLock } from './single-instance.ts'

const CHILD = `
  import { acquireInstanceLock } from ${JSON.stringify(new URL('./single-instance.ts', import.meta.url).href)}
  process.stdin.resume().on('end', () => process.exit())
  try {
    await acquireInstanceLock(process.argv[1], { pid: process.pid, now: () => 0 })
    console.log('held')
  } catch (error) {
    console.log(error.code + ' ' + error.message)
  }
`

const clock = { pid: process.pid, now: () => 0 }
let directory: string
const children: ChildProcessWithoutNullStreams[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'instance-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(directory, { recursive: true })
})

it('refuses a second holder in the same process, and after its refusal still the third', async () => {
  const lock = await acquireInstanceLock(directory, clock)
  const refused = {
    code: 'failed_precondition',
    message: `process ${process.pid} (since 1970-01-01T00:00:00.000Z) already uses the data directory ${directory}`,
    details: { pid: process.pid, directory, fix: [`stop that process (kill ${process.pid}), or choose another data directory`] },
  }
  await expect(acquireInstanceLock(directory, clock)).rejects.toMatchObject(refused)
  await expect(acquireInstanceLock(directory, clock)).rejects.toMatchObject(refused)
  expect(await start(directory).firstLine).toBe(`failed_precondition ${refused.message}`)
  await lock.release()
})

it('lets exactly one of several processes in that start at once', async () => {
  const lines = await Promise.all([1, 2, 3, 4].map(() => start(directory).firstLine))
  expect(lines.filter((line) => line === 'held')).toHaveLength(1)
  const winner = children[lines.indexOf('held')]
  expect(lines.filter((line) => line !== 'held')).toEqual(
    Array(3).fill(
      `failed_precondition process ${winner?.pid} (since 1970-01-01T00:00:00.000Z) already uses the data directory ${directory}`,
    ),
  )
})

it('is free again after kill -9, whoever has that process id now', async () => {
  const first = start(directory)
  expect(await first.firstLine).toBe('held')
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  // The record still names a process, and one that lives: only the lock counts.
  writeFileSync(join(directory, 'instance.json'), JSON.stringify({ pid: process.ppid, started: 'long ago' }))
  const lock = await acquireInstanceLock(directory, clock)
  await lock.release()
})

it('names nobody rather than the wrong one', async () => {
  const lock = await acquireInstanceLock(directory, clock)
  writeFileSync(join(directory, 'instance.json'), '{broken')
  await expect(acquireInstanceLock(directory, clock)).rejects.toMatchObject({
    message: `another process already uses the data directory ${directory}`,
  })
  await lock.release()
})

it('is released once, leaves only its lock file, private, and can be taken again', async () => {
  const first = await acquireInstanceLock(directory, clock)
  await first.release()
  expect(readdirSync(directory)).toEqual(['instance.lock'])
  expect(statSync(join(directory, 'instance.lock')).mode & 0o777).toBe(0o600)
  const second = await acquireInstanceLock(directory, clock)
  await first.release()
  await expect(acquireInstanceLock(directory, clock)).rejects.toMatchObject({ code: 'failed_precondition' })
  await second.release()
})

it('works far down in the tree', async () => {
  const deep = join(directory, ...Array.from({ length: 4 }, () => 'x'.repeat(100)))
  mkdirSync(deep, { recursive: true })
  const lock = await acquireInstanceLock(deep, clock)
  await expect(acquireInstanceLock(deep, clock)).rejects.toMatchObject({ code: 'failed_precondition' })
  await lock.release()
})

function start(path: string): { child: ChildProcessWithoutNullStreams; firstLine: Promise<string> } {
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', CHILD, path])
  children.push(child)
  const firstLine = once(createInterface(child.stdout), 'line').then(([line]) => String(line))
  return { child, firstLine }
}
