import { areFieldLines } from './response-head.ts'
import { protocolFault } from './wire-fault.ts'

/** Reads a chunked body (RFC 9112 7.1); extensions and trailers are checked, counted and dropped. */
export interface ChunkedBody {
  /** Makes it ready for the next body. */
  reset(): void
  /**
   * Hands on what `bytes` has of the body from `offset` on, as one piece however many chunks it is: they are moved together in place.
   *
   * @returns where the body ended, or -1 when it goes on
   * @throws WireFault WIRE_PROTOCOL
   */
  read(bytes: Buffer, offset: number): number
}

const CHUNK_LIMITS = {
  /** One line with the size of a chunk and its extensions. */
  lineBytes: 1024,
  /** All extensions of a body. */
  extensionBytes: 16 * 1024,
  /** All trailers of a body. */
  trailerBytes: 16 * 1024,
} as const

export function createChunkedBody(onBytes: (bytes: Buffer) => void): ChunkedBody {
  const lines = createLineReader()
  let part: 'size' | 'bytes' | 'end of chunk' | 'trailer' = 'size'
  let left = 0
  let extensionBytes = 0
  let trailerBytes = 0

  const readSize = (line: string): void => {
    const match = SIZE_LINE.exec(line)
    if (!match?.[1]) throw protocolFault('a chunk without a proper size')
    extensionBytes += line.length - match[1].length
    if (extensionBytes > CHUNK_LIMITS.extensionBytes) throw protocolFault('too many extensions of chunks')
    left = Number.parseInt(match[1], 16)
    part = left === 0 ? 'trailer' : 'bytes'
  }
  /** True at the end of the body. */
  const takeLine = (line: string): boolean => {
    if (part === 'size') readSize(line)
    else if (part === 'end of chunk') {
      if (line !== '') throw protocolFault(NO_CHUNK_END)
      part = 'size'
    } else if (line === '') return true
    else {
      trailerBytes += line.length + 2
      if (trailerBytes > CHUNK_LIMITS.trailerBytes) throw protocolFault('trailers that are too large')
      if (!areFieldLines(`${line}\r\n`)) throw protocolFault('a trailer that is no field')
    }
    return false
  }

  return {
    reset() {
      lines.reset()
      part = 'size'
      left = extensionBytes = trailerBytes = 0
    },
    read(bytes, offset) {
      let at = offset
      let isOver = false
      /** What was found so far, in its final place. */
      let [from, to] = [0, 0]
      while (at >= 0 && at < bytes.length && !isOver) {
        if (part === 'bytes') {
          const end = Math.min(bytes.length, at + left)
          left -= end - at
          if (left === 0) part = 'end of chunk'
          if (to === 0) from = to = at
          else bytes.copyWithin(to, at, end)
          to += end - at
          at = end
        } else {
          at = lines.read(bytes, at, maxLine(part))
          isOver = at >= 0 && takeLine(lines.line)
        }
      }
      if (to > from) onBytes(bytes.subarray(from, to))
      return isOver ? at : -1
    },
  }
}

/** At most 2^48 bytes a chunk; white space may stand before an extension only. */
const SIZE_LINE = /^([0-9a-fA-F]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/

function maxLine(part: 'size' | 'end of chunk' | 'trailer'): number {
  if (part === 'trailer') return CHUNK_LIMITS.trailerBytes
  return part === 'size' ? CHUNK_LIMITS.lineBytes : 0
}

interface LineReader {
  /** The line that `read` came to the end of, without CRLF. */
  readonly line: string
  /** Returns where the next line begins, or -1 when this one goes on. */
  read(bytes: Buffer, offset: number, maxBytes: number): number
  reset(): void
}

const LF = 0x0a
const NO_CHUNK_END = 'a chunk that is longer than its size'
const LONG_LINE = 'a line of a chunked body that is too long'
const BARE = 'a bare CR or LF in a chunked body'

function createLineReader(): LineReader {
  let begun = ''
  let line = ''
  return {
    get line() {
      return line
    },
    read(bytes, offset, maxBytes) {
      const lf = bytes.indexOf(LF, offset)
      const piece = bytes.toString('latin1', offset, lf < 0 ? Math.min(bytes.length, offset + maxBytes + 2) : lf + 1)
      const text = begun + piece
      // Without its LF a line is shorter by one.
      if (text.length > (lf < 0 ? maxBytes + 1 : maxBytes + 2)) throw protocolFault(maxBytes === 0 ? NO_CHUNK_END : LONG_LINE)
      // A CR is the last but one of a line, and nothing else is.
      const cr = text.indexOf('\r')
      if (lf < 0) {
        if (cr >= 0 && cr !== text.length - 1) throw protocolFault(BARE)
        begun = text
        return -1
      }
      if (cr < 0 || cr !== text.length - 2) throw protocolFault(BARE)
      begun = ''
      line = text.slice(0, -2)
      return lf + 1
    },
    reset() {
      begun = line = ''
    },
  }
}
