import { Agent, type IncomingMessage, request as sendRequest } from 'node:http'
import { connect } from 'node:net'

export interface RawAnswer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

export interface RawRequest {
  method?: string
  headers?: Record<string, string | string[]>
  body?: string | Buffer
}

/** An answer whose head has come, its body still on the way. */
export interface OpenAnswer {
  status: number
  headers: IncomingMessage['headers']
  /** What came so far. */
  text: () => string
  /** Settles with the whole text when it is over, however that came about. */
  ended: Promise<string>
  /** Reads nothing more, until `resume`. */
  pause(): void
  resume(): void
  leave(): void
}

/** An HTTP client that sends what it is told, without opinions of its own. */
export function openHttp(url: URL, { method = 'POST', headers = {}, body }: RawRequest): Promise<OpenAnswer> {
  const agent = new Agent()
  return new Promise((resolve, reject) => {
    const request = sendRequest(url, { method, headers, agent }, (response) => {
      const chunks: Buffer[] = []
      const text = (): string => Buffer.concat(chunks).toString('utf8')
      const ended = Promise.withResolvers<string>()
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', () => undefined) // broken off: `ended` tells
      response.on('close', () => {
        agent.destroy()
        ended.resolve(text())
      })
      const { statusCode: status = 0, headers: got } = response
      const pause = (): void => void response.pause()
      const resume = (): void => void response.resume()
      resolve({ status, headers: got, text, ended: ended.promise, pause, resume, leave: () => request.destroy() })
    })
    request.on('error', reject)
    request.end(body)
  })
}

export async function askHttp(url: URL, request: RawRequest): Promise<RawAnswer> {
  const { status, headers, ended } = await openHttp(url, request)
  return { status, headers, text: await ended }
}

/** Sends text to a port and gives all that comes back until the other side closes, or `until` matches. */
export function askSocket(
  port: number,
  text: string,
  { until, keepOpen = false }: { until?: RegExp; keepOpen?: boolean } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(received) : reject(error),
    )
    socket.on('close', () => resolve(received))
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
      if (until?.test(received)) socket.destroy()
    })
    if (keepOpen) socket.write(text)
    else socket.end(text)
  })
}
