import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { AppError } from '../lib/errors.ts'
import { readAnswer } from './answer.ts'
import type { Carrier } from './call.ts'

/** Unix socket paths end at 104 bytes on macOS and 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 100

/**
 * Where the Auth Service of a data directory listens for the administrator on the same machine: `DATA/auth.sock`, or for long
 * paths a socket in a private folder of the temp directory whose name follows from the data directory.
 */
export function localSocketPath(dataDirectory: string, temporaryDirectory: string = tmpdir()): string {
  const plain = join(resolve(dataDirectory), 'auth.sock')
  if (Buffer.byteLength(plain) <= MAX_SOCKET_PATH_BYTES) return plain
  const digest = createHash('sha256').update(resolve(dataDirectory)).digest('hex').slice(0, 24)
  return join(temporaryDirectory, `sallyport-${digest}`, 'auth.sock')
}

/** For the server: the path to listen on, its private folder made when one is needed. */
export function prepareLocalSocket(dataDirectory: string, temporaryDirectory: string = tmpdir()): string {
  const path = localSocketPath(dataDirectory, temporaryDirectory)
  const folder = join(path, '..')
  if (folder === resolve(dataDirectory)) return path
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (cause) {
    if (!hasCode(cause, 'EEXIST'))
      throw new AppError('failed_precondition', `cannot make the folder ${folder} for the local socket`, { cause })
  }
  checkSocketFolder(folder, dataDirectory)
  return path
}

/**
 * Carries calls to the Auth Service of a data directory, which takes whoever may open its socket for an administrator.
 * Without one listening: `unavailable`.
 */
export function createLocalCarrier(dataDirectory: string, { timeoutMs = 30_000, temporaryDirectory = tmpdir() } = {}): Carrier {
  const socketPath = localSocketPath(dataDirectory, temporaryDirectory)
  return ({ method, path, headers, body }) =>
    new Promise((fulfil, reject) => {
      const folder = join(socketPath, '..')
      if (folder !== resolve(dataDirectory) && lstatSync(folder, { throwIfNoEntry: false })) checkSocketFolder(folder, dataDirectory)
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const call = request({
        socketPath,
        method,
        path,
        headers: { host: 'localhost', ...headers, ...length },
        signal: AbortSignal.timeout(timeoutMs),
      })
      call.on('response', (answer) => readAnswer(answer).then(fulfil, reject))
      call.on('error', (cause) => reject(unreachable(dataDirectory, timeoutMs, cause)))
      call.end(body)
    })
}

function unreachable(dataDirectory: string, timeoutMs: number, cause: unknown): AppError {
  if (hasCode(cause, 'ENOENT') || hasCode(cause, 'ECONNREFUSED'))
    return new AppError(
      'unavailable',
      `no Auth Service is running on ${dataDirectory}: start one with sallyport start, or sign in with tsh login`,
      { cause },
    )
  if (hasCode(cause, 'EACCES'))
    return new AppError(
      'permission_denied',
      `the Auth Service of ${dataDirectory} belongs to another account: run this as that account, or sign in with tsh login`,
      { cause },
    )
  if (cause instanceof Error && (cause.name === 'TimeoutError' || cause.name === 'AbortError'))
    return new AppError('deadline_exceeded', `the Auth Service of ${dataDirectory} did not answer within ${timeoutMs / 1000} s`, { cause })
  return new AppError('unavailable', `the connection to the Auth Service of ${dataDirectory} failed`, { cause })
}

/** Others can write to the temp directory: the folder must be the data directory owner's and closed to everybody else. */
function checkSocketFolder(folder: string, dataDirectory: string): void {
  const found = lstatSync(folder)
  if (!found.isDirectory() || found.uid !== statSync(dataDirectory).uid || (found.mode & 0o077) !== 0)
    throw new AppError(
      'failed_precondition',
      `${folder} is not a private folder of the owner of ${dataDirectory}: remove it, or use a shorter data directory path`,
    )
}

function hasCode(thrown: unknown, code: string): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === code
}
