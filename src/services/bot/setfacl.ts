import { spawn } from 'node:child_process'
import { readBounded } from '../../lib/read-bounded.ts'
import { findGroup } from './readers.ts'
import type { ReaderAccess } from './readers.ts'

const TIMEOUT_MS = 10_000

/** Lets readers in by the programs and files of this system. */
export function createReaderAccess(warn: (message: string) => void): ReaderAccess {
  return { setAcl, findGroup: (name) => findGroup(name), warn }
}

async function setAcl(directoryFd: number, entries: string, paths: readonly string[]): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'this system has no setfacl'
  // The directory is handed over open: setfacl cannot be led elsewhere by its path.
  const files = paths.map((path) => `/proc/self/fd/3/${path}`)
  const child = spawn('setfacl', ['-m', entries, '--', ...files], {
    stdio: ['ignore', 'ignore', 'pipe', directoryFd],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  const ended = new Promise<string | undefined>((fulfil) => {
    child.once('error', (thrown) => fulfil('code' in thrown && thrown.code === 'ENOENT' ? 'setfacl is not installed' : thrown.message))
    child.once('close', (code) => fulfil(code === 0 ? undefined : `setfacl ended with ${code ?? 'a signal'}`))
  })
  const complaint = child.stderr
    ? await readBounded(child.stderr, 65_536, () => new Error('setfacl says too much')).catch(() => undefined)
    : undefined
  const fault = await ended
  return fault === undefined ? undefined : (complaint?.toString().trim().split('\n')[0] || fault).replaceAll('/proc/self/fd/3/', '')
}
