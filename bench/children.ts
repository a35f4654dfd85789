import { type ChildProcess, fork, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

const START_MS = 60_000
const STOP_MS = 20_000
const portSchema = z.object({ port: z.number() })

/** The processes of one benchmark: nothing else is ever ended, and none outlives it. */
export class Children {
  readonly #all = new Set<ChildProcess>()

  constructor() {
    process.on('exit', () => {
      for (const child of this.#all) child.kill('SIGKILL')
    })
  }

  /** A program of this folder, connected by a channel. */
  fork(file: string, args: string[] = []): ChildProcess {
    return this.#keep(fork(join(import.meta.dirname, file), args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }))
  }

  /** A server of this folder; resolves with its port once it listens. */
  async forkServer(file: string, args: string[] = []): Promise<{ pid: number; port: number }> {
    const child = this.fork(file, args)
    const { port } = portSchema.parse(await within(START_MS, `the start of ${file}`, nextMessage(child)))
    return { pid: child.pid ?? 0, port }
  }

  /** Any other program; resolves with the first match of `whenUp` in its standard output. Its log goes to `logFile`. */
  async spawnUntil(
    args: string[],
    { env, logFile, whenUp }: { env: NodeJS.ProcessEnv; logFile: string; whenUp: RegExp },
  ): Promise<{ child: ChildProcess; match: RegExpExecArray }> {
    const log = openSync(logFile, 'a')
    const child = this.#keep(spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', log] }))
    closeSync(log)
    let output = ''
    const up = new Promise<RegExpExecArray>((resolve, reject) => {
      child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk
        const match = whenUp.exec(output)
        if (match) resolve(match)
      })
      child.on('exit', () => reject(new Error(`it ended at once:\n${output}${readFileSync(logFile, 'utf8').slice(-2000)}`)))
    })
    return { child, match: await within(START_MS, `the start of ${args.at(-1)}`, up) }
  }

  /** A program that listens on `port` once it is up. Its output goes to `logFile`. */
  async spawnListening(command: string, args: string[], { port, logFile }: { port: number; logFile: string }): Promise<ChildProcess> {
    const log = openSync(logFile, 'a')
    const child = this.#keep(spawn(command, args, { stdio: ['ignore', log, log] }))
    closeSync(log)
    const started = new Promise<never>((_, reject) => {
      child.on('error', reject)
      child.on('exit', () => reject(new Error(`${command} ended at once:\n${readFileSync(logFile, 'utf8').slice(-2000)}`)))
    })
    await within(START_MS, `the start of ${command}`, Promise.race([started, untilListening(port)]))
    return child
  }

  /** Asks one to end and waits for it. */
  async end(child: ChildProcess): Promise<void> {
    await stop(child)
  }

  /** Asks all to end and waits for it. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map((child) => stop(child)))
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#all.add(child)
    child.on('exit', () => this.#all.delete(child))
    return child
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await gone
  clearTimeout(timer)
}

async function untilListening(port: number): Promise<void> {
  for (;;) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => resolve(true)).on('error', () => resolve(false))
      socket.on('close', () => undefined).end()
    })
    if (isUp) return
    await sleep(50)
  }
}

/** A port nobody has now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** The next message of a forked process; rejects when it ends before. */
export function nextMessage(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`a process of the benchmark ended with ${code}`))
    child.once('exit', onExit)
    child.once('message', (message) => {
      child.off('exit', onExit)
      resolve(message)
    })
  })
}

export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
