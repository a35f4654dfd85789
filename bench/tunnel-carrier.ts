import { readFileSync } from 'node:fs'

/**
 * What carries exchanges between two processes, over TLS 1.3 with two certificates: HTTP/1.1 on a connection for each call under way, as if the
 * agent could be reached; HTTP/2, our frames in a WebSocket, and our frames, each on one connection; and that with a reader that takes nothing.
 */
export const CARRIERS = ['direct', 'http2', 'websocket', 'frames', 'frames-stalled'] as const
export type Carrier = (typeof CARRIERS)[number]

export function readCarrier(word: string | undefined): Carrier {
  const found = CARRIERS.find((one) => one === word)
  if (!found) throw new Error(`no carrier: ${word}`)
  return found
}

/** Key and certificate in one file of PEM; both ends use the same. */
export function readTls(path: string | undefined): { key: string; cert: string; ca: string[]; minVersion: 'TLSv1.3' } {
  const [key = '', cert = ''] = readFileSync(path ?? '', 'utf8').split(/(?=-----BEGIN CERTIFICATE)/)
  return { key, cert, ca: [cert], minVersion: 'TLSv1.3' }
}
