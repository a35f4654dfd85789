import { randomBytes } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { AppError } from '../../../lib/errors.ts'
import { FrameSocket } from './frame-socket.ts'
import { cString, frame, int32, notPostgres, readTexts, untypedFrame } from './frames.ts'
import { createScram, type Scram } from './scram.ts'
import { readServerError } from './server-error.ts'

/** How to speak TLS with a database server; undefined: not at all, on loopback. */
export type DatabaseTls = Pick<
  ConnectionOptions,
  'ca' | 'key' | 'cert' | 'host' | 'servername' | 'rejectUnauthorized' | 'checkServerIdentity'
>

export interface ConnectTarget {
  host: string
  port: number
  tls: DatabaseTls | undefined
}

export interface ConnectOptions extends ConnectTarget {
  user: string
  database: string
  password: string | undefined
  /** Settings of the session that are in force from its first moment (`run-time parameters`). */
  parameters: Readonly<Record<string, string>>
  /** The largest message that is kept. */
  maxBytes: number
  signal: AbortSignal
}

/** A session that the server accepted and that waits for a statement. */
export interface StartedSession {
  frames: FrameSocket
  /** What the server reported of its settings, such as `server_version`. */
  parameters: ReadonlyMap<string, string>
  /** For a cancel request: process id and secret, as the server sent them. */
  cancelKey: Buffer
}

const CONNECT_MS = 15_000
const SSL_REQUEST = 80_877_103
const CANCEL_REQUEST = 80_877_102
const PROTOCOL = 196_608
const MAX_PARAMETERS = 200

/**
 * Connects, authenticates and waits until the server is ready. A password goes out only as a proof of SCRAM-SHA-256: a server that asks for
 * the password itself, or for MD5, does not get it.
 * @throws AppError unavailable (origin upstream_unreachable) when it cannot be reached, unauthenticated when it refuses or cannot be
 * trusted, failed_precondition for other refusals of the server, deadline_exceeded after 15 s, cancelled.
 */
export async function connectPostgres(options: ConnectOptions): Promise<StartedSession> {
  const deadline = new AppError('deadline_exceeded', 'the database server did not answer in time', { origin: 'upstream_unreachable' })
  return await guarded(options, options.signal, deadline, async (socket) => {
    const frames = new FrameSocket(socket, options.maxBytes)
    const { user, database, parameters } = options
    const pairs = Object.entries({ user, database, ...parameters }).flatMap(([name, value]) => [cString(name), cString(value)])
    frames.write(untypedFrame(int32(PROTOCOL), ...pairs, Buffer.alloc(1)))
    await authenticate(frames, options)
    return await untilReady(frames)
  })
}

/** Asks the server to end the statement that this session is running ("Canceling Requests in Progress"). Nobody says whether it did. */
export async function sendCancel(target: ConnectTarget, cancelKey: Buffer, signal: AbortSignal): Promise<void> {
  const deadline = new AppError('deadline_exceeded', 'the cancel request could not be sent in time')
  await guarded(target, signal, deadline, async (socket) => {
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
      socket.resume()
      socket.end(untypedFrame(int32(CANCEL_REQUEST), cancelKey))
    })
  })
}

/** Runs `use` with a connection, TLS included, that is destroyed when it fails, takes too long or is not wanted any more. */
async function guarded<T>(target: ConnectTarget, signal: AbortSignal, late: AppError, use: (socket: Socket) => Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const tcp = connectTcp({ host: target.host, port: target.port, noDelay: true, keepAlive: true })
  let failure: AppError | undefined
  let current: Socket = tcp
  const stop = (why: AppError): void => {
    failure ??= why
    tcp.destroy(why)
    current.destroy(why)
  }
  const timer = setTimeout(() => stop(late), CONNECT_MS)
  const onAbort = (): void => stop(new AppError('cancelled', 'the request was cancelled'))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await connected(tcp, 'connect')
    if (target.tls) current = await startTls(tcp, target.tls)
    return await use(current)
  } catch (thrown) {
    tcp.destroy()
    current.destroy()
    throw failure ?? asFailure(thrown, target)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

async function startTls(tcp: Socket, options: DatabaseTls): Promise<Socket> {
  tcp.write(untypedFrame(int32(SSL_REQUEST)))
  const answer = await new Promise<Buffer>((resolve, reject) => {
    tcp.once('data', (chunk: Buffer) => {
      tcp.pause()
      resolve(chunk)
    })
    tcp.once('error', reject)
    tcp.once('close', () => reject(notPostgres()))
  })
  // More than the one byte would be text that an attacker slipped in before the encryption (CVE-2021-23222).
  if (answer.length !== 1) throw notPostgres()
  if (answer.toString('latin1') !== 'S')
    throw new AppError('failed_precondition', 'the database server does not speak TLS: set ssl = on there', { origin: 'upstream' })
  tcp.removeAllListeners('close')
  const tls = connectTls({ ...options, socket: tcp, minVersion: 'TLSv1.2' })
  await connected(tls, 'secureConnect')
  return tls
}

function connected(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => {
      socket.off('error', reject)
      resolve()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(notPostgres()))
  })
}

function asFailure(thrown: unknown, { host, port }: ConnectTarget): AppError {
  if (thrown instanceof AppError) return thrown
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  const origin = 'upstream_unreachable'
  if (/^(ERR_TLS|CERT|UNABLE|SELF_SIGNED|DEPTH_ZERO|ERR_SSL)/.test(code))
    return new AppError('unauthenticated', `the certificate of the database server ${host}:${port} was refused (${code})`, {
      origin,
      cause: thrown,
    })
  return new AppError('unavailable', `the database server ${host}:${port} cannot be reached${code && ` (${code})`}`, {
    origin,
    cause: thrown,
  })
}

const METHODS: Readonly<Record<number, string>> = { 2: 'Kerberos', 3: 'the password itself', 5: 'MD5', 7: 'GSSAPI', 9: 'SSPI' }

async function authenticate(frames: FrameSocket, { user, password }: ConnectOptions): Promise<void> {
  let scram: Scram | undefined
  let isProven = false
  for (;;) {
    const { type, body } = await frames.next()
    if (type === 'E') throw asRefusal(readServerError(body))
    if (type === 'N' || type === 'v') continue
    if (type !== 'R' || !body || body.length < 4) throw notPostgres()
    const method = body.readInt32BE(0)
    const content = body.subarray(4)
    if (method === 0) {
      if (scram && !isProven)
        throw new AppError('unauthenticated', 'the database server did not prove that it knows the password', { origin: 'upstream' })
      return
    }
    if (method === 10) {
      scram = beginScram(readTexts(content), user, password)
      const first = Buffer.from(scram.first)
      frames.write(frame('p', cString(scram.mechanism), int32(first.length), first))
    } else if (method === 11 && scram) frames.write(frame('p', Buffer.from(await scram.answer(content.toString('utf8')))))
    else if (method === 12 && scram) {
      scram.verify(content.toString('utf8'))
      isProven = true
    } else throw unsupported(METHODS[method] ?? `method ${method}`)
  }
}

function beginScram(mechanisms: readonly string[], user: string, password: string | undefined): Scram {
  if (password === undefined)
    throw new AppError(
      'failed_precondition',
      `the database server asks for a password of "${user}" and not for a client certificate: set cert in its pg_hba.conf, or auth.method of the database`,
      { origin: 'upstream' },
    )
  if (!mechanisms.includes('SCRAM-SHA-256')) throw unsupported(mechanisms.join(', '))
  return createScram(password, randomBytes(18).toString('base64'))
}

function unsupported(method: string): AppError {
  return new AppError('failed_precondition', `the database server asks for ${method}: it has to use cert or scram-sha-256`, {
    origin: 'upstream',
  })
}

/** Class 28 is "invalid authorization specification". */
function asRefusal(error: AppError): AppError {
  if (!String(error.details?.['sqlstate']).startsWith('28')) return error
  return new AppError('unauthenticated', error.message, { origin: 'upstream', details: error.details ?? {} })
}

async function untilReady(frames: FrameSocket): Promise<StartedSession> {
  const parameters = new Map<string, string>()
  let cancelKey: Buffer = Buffer.alloc(0)
  for (;;) {
    const { type, body } = await frames.next()
    if (type === 'E') throw asRefusal(readServerError(body))
    if (type === 'Z') return { frames, parameters, cancelKey }
    if (type === 'K' && body) cancelKey = body
    else if (type === 'S' && body && parameters.size < MAX_PARAMETERS) {
      const [name = '', value = ''] = readTexts(body)
      parameters.set(name, value)
    } else if (type !== 'N' && type !== 'S') throw notPostgres()
  }
}
