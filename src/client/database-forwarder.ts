import type { IncomingMessage } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { AppError, toAppError } from '../lib/errors.ts'
import { firstEvent } from '../lib/first-event.ts'
import { readBounded } from '../lib/read-bounded.ts'
import type { McpEndpoint } from './mcp-endpoint.ts'
import { readStartup, renderFatal } from './postgres-startup.ts'

export interface DatabaseForwarderOptions {
  /** The raw way to the database; every request carries the caller's assertion. */
  endpoint: McpEndpoint
  user: string
  name: string
  listen: { host: string; port: number }
  log: (line: string) => void
}

export interface DatabaseForwarder {
  port: number
  /** Ends all connections. */
  close(): Promise<void>
}

/** What goes on of what a client says at the start; user and database are those that were asked for here. */
const SETTINGS = ['application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'IntervalStyle', 'extra_float_digits', 'search_path']
const MAX_CONNECTIONS = 100
const MAX_PIECE_BYTES = 64 * 1024
const START_MS = 30_000
const POST_MS = 60_000
const FAREWELL_MS = 5000
const JSON_TYPE = { 'content-type': 'application/json', accept: 'application/json' }

/** Cancel key → how to ask for the end of a statement. */
type Cancels = Map<string, () => Promise<void>>

/**
 * Listens for clients of PostgreSQL, such as psql, and brings each connection to the database over the identity behind `endpoint`.
 * @throws AppError failed_precondition when the address is taken.
 */
export async function startDatabaseForwarder(options: DatabaseForwarderOptions): Promise<DatabaseForwarder> {
  const sockets = new Set<Socket>()
  const cancels: Cancels = new Map()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => undefined) // 'close' follows
    serve(socket, options, cancels).catch((thrown: unknown) => {
      const error = toAppError(thrown)
      if (!socket.destroyed) options.log(`connection refused: ${error.message}`)
      socket.end(renderFatal(error.message))
    })
  })
  server.maxConnections = MAX_CONNECTIONS
  const port = await listen(server, options.listen)
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
        options.endpoint.close()
      }),
  }
}

async function serve(socket: Socket, { endpoint, user, name }: DatabaseForwarderOptions, cancels: Cancels): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), START_MS)
  const startup = await readStartup(socket, () => socket.write('N')).finally(() => clearTimeout(timer))
  if (startup.kind === 'cancel') {
    await cancels.get(startup.key)?.()
    return void socket.end()
  }
  const closing = new AbortController()
  socket.once('close', () => closing.abort())
  const parameters = Object.fromEntries(Object.entries(startup.parameters).filter(([key]) => SETTINGS.includes(key)))
  const body = Buffer.from(JSON.stringify({ user, name, parameters }))
  const answer = await endpoint.send({ method: 'POST', headers: { ...JSON_TYPE }, body, signal: closing.signal })
  if (answer.statusCode !== 200) throw await readRefusal(answer)
  const { 'mcp-session-id': id = '', 'sallyport-cancel-key': key = '' } = answer.headers
  const post = (headers: Record<string, string>, bytes: Uint8Array, signal: AbortSignal) =>
    send(endpoint, { 'content-type': 'application/octet-stream', 'mcp-session-id': String(id), ...headers }, bytes, signal)
  cancels.set(String(key), () => post({ 'sallyport-cancel': '1' }, Buffer.alloc(0), AbortSignal.timeout(POST_MS)))
  let farewell: NodeJS.Timeout | undefined
  try {
    const sending = sendAll(socket, startup.rest, (offset, bytes) => post({ 'sallyport-offset': String(offset) }, bytes, closing.signal))
    // Why it ended comes by the other way; this one only ends with it.
    sending.catch(() => (farewell = setTimeout(() => socket.destroySoon(), FAREWELL_MS).unref()))
    await receiveAll(answer, socket)
    socket.end()
  } finally {
    clearTimeout(farewell)
    cancels.delete(String(key))
  }
}

async function sendAll(socket: Socket, first: Buffer, send: (offset: number, bytes: Buffer) => Promise<void>): Promise<void> {
  let offset = 0
  const sendPieces = async (chunk: Buffer): Promise<void> => {
    for (let at = 0; at < chunk.length; at += MAX_PIECE_BYTES) {
      const piece = chunk.subarray(at, at + MAX_PIECE_BYTES)
      await send(offset, piece)
      offset += piece.length
    }
  }
  await sendPieces(first)
  // Left early, it is still to be written to.
  const chunks: AsyncIterable<unknown> = socket.iterator({ destroyOnReturn: false })
  for await (const chunk of chunks) if (Buffer.isBuffer(chunk)) await sendPieces(chunk)
}

async function send(endpoint: McpEndpoint, headers: Record<string, string>, body: Uint8Array, signal: AbortSignal): Promise<void> {
  const answer = await endpoint.send({ method: 'POST', headers, body, repeatable: true, signal })
  if (answer.statusCode !== 204) throw await readRefusal(answer)
  answer.resume()
}

/** Takes the pieces of the answer out of their lengths; a length of 0 only says that the way is open. */
async function receiveAll(answer: IncomingMessage, socket: Socket): Promise<void> {
  let head = Buffer.alloc(0)
  let left = 0
  for await (const part of answer) {
    let chunk = Buffer.from(part)
    while (chunk.length > 0) {
      if (left === 0) {
        const missing = chunk.subarray(0, 4 - head.length)
        head = Buffer.concat([head, missing])
        chunk = chunk.subarray(missing.length)
        if (head.length < 4) break
        left = head.readUInt32BE(0)
        head = Buffer.alloc(0)
        continue
      }
      const piece = chunk.subarray(0, left)
      left -= piece.length
      chunk = chunk.subarray(piece.length)
      if (!socket.write(piece)) await firstEvent(socket, ['drain', 'close'])
    }
  }
}

async function readRefusal(answer: IncomingMessage): Promise<AppError> {
  const fallback = `the proxy answered with status ${answer.statusCode}`
  const text = (await readBounded(answer, 65_536, () => new AppError('unavailable', fallback))).toString('utf8')
  try {
    const document: unknown = JSON.parse(text)
    const error: unknown = typeof document === 'object' && document !== null ? Reflect.get(document, 'error') : undefined
    const message: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'message') : undefined
    return new AppError('permission_denied', typeof message === 'string' ? message : fallback)
  } catch (cause) {
    return new AppError('unavailable', fallback, { cause })
  }
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new AppError('failed_precondition', `cannot listen on ${host}:${port}: choose another port`, { cause })),
    )
    server.listen(port, host, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    })
  })
}
