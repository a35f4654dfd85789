import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../lib/errors.ts'

export interface DemoHttpServer {
  /** Where its MCP endpoint is. */
  url: string
  close(): Promise<void>
}

const START_MS = 30_000

/** Starts the Everything server over streamable HTTP on a free loopback port and waits until it answers. */
export async function startDemoHttp(script: string): Promise<DemoHttpServer> {
  const port = await findFreePort()
  const preloads = ['./loopback-only.ts', './end-with-parent.ts'].flatMap((file) => ['--import', new URL(file, import.meta.url).href])
  const child = spawn(process.execPath, [...preloads, script, 'streamableHttp'], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: String(port) },
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  const lines: string[] = []
  child.stderr.on('data', (chunk: Buffer) => lines.push(chunk.toString('utf8').slice(0, 2000)) > 20 && lines.shift())
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const url = `http://127.0.0.1:${port}/mcp`
  const close = async (): Promise<void> => {
    child.kill('SIGTERM')
    const killed = setTimeout(() => child.kill('SIGKILL'), 5000)
    await exited
    clearTimeout(killed)
  }
  for (let waited = 0; !(await answers(url)); waited += 100) {
    if (waited < START_MS && child.exitCode === null) await sleep(100)
    else {
      await close()
      throw new AppError('unavailable', `the demo's HTTP server did not start: ${lines.join('').trim() || 'no message'}`)
    }
  }
  return { url, close }
}

async function answers(url: string): Promise<boolean> {
  try {
    await fetch(url, { method: 'GET', signal: AbortSignal.timeout(1000) })
    return true
  } catch {
    return false // not yet listening
  }
}

function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
