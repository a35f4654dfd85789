import { TunnelFault } from './fault.ts'

/** The first frame of both ends: which protocol, which versions, and what this end takes. */
export interface Hello {
  /** Streams that the other end may have open at a time. */
  maxStreams: number
  /** Bytes that may be sent on a new stream before a window frame, and on all streams together. */
  streamWindow: number
  connectionWindow: number
  /** What this end can do beyond the version; unknown ones are passed over. */
  features: readonly string[]
}

/** "SLYP": who speaks HTTP or TLS here is told apart at the first bytes. */
const MAGIC = 0x534c5950
const OLDEST_VERSION = 1
const NEWEST_VERSION = 1
const FIXED_BYTES = 20
const MIN_WINDOW = 1024
const MAX_WINDOW = 0x7fffffff
const FEATURES = /^(?:[a-z0-9-]{1,64}(?: [a-z0-9-]{1,64}){0,31})?$/

export function encodeHello({ maxStreams, streamWindow, connectionWindow, features }: Hello): Buffer {
  const words = Buffer.from(features.join(' '), 'latin1')
  const payload = Buffer.alloc(FIXED_BYTES + words.length)
  payload.writeUInt32BE(MAGIC, 0)
  payload.writeUInt16BE(OLDEST_VERSION, 4)
  payload.writeUInt16BE(NEWEST_VERSION, 6)
  payload.writeUInt32BE(maxStreams, 8)
  payload.writeUInt32BE(streamWindow, 12)
  payload.writeUInt32BE(connectionWindow, 16)
  payload.set(words, FIXED_BYTES)
  return payload
}

/** @throws TunnelFault version when there is no common version, protocol when it makes no sense. */
export function decodeHello(payload: Buffer): Hello {
  if (payload.length < FIXED_BYTES || payload.readUInt32BE(0) !== MAGIC)
    throw new TunnelFault('version', 'the other end does not speak the tunnel protocol')
  const [oldest, newest] = [payload.readUInt16BE(4), payload.readUInt16BE(6)]
  if (oldest > NEWEST_VERSION || newest < OLDEST_VERSION)
    throw new TunnelFault('version', `the other end speaks versions ${oldest} to ${newest} of the tunnel, this one ${NEWEST_VERSION}`)
  const [maxStreams, streamWindow, connectionWindow] = [payload.readUInt32BE(8), payload.readUInt32BE(12), payload.readUInt32BE(16)]
  for (const window of [streamWindow, connectionWindow]) {
    if (window < MIN_WINDOW || window > MAX_WINDOW) throw new TunnelFault('protocol', `a window of ${window} bytes is not allowed`)
  }
  const words = payload.toString('latin1', FIXED_BYTES)
  if (!FEATURES.test(words)) throw new TunnelFault('protocol', 'the list of features is malformed')
  return { maxStreams, streamWindow, connectionWindow, features: words === '' ? [] : words.split(' ') }
}
