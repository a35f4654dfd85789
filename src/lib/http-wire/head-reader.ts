import { protocolFault } from './wire-fault.ts'

/** Finds the end of a head, in whatever pieces it comes. */
export interface HeadReader {
  /** The head that `read` came to the end of, in latin1 and without its empty line. */
  text(): string
  /**
   * Takes what `bytes` has of the head from `offset` on.
   *
   * @returns where the head ended, or -1 when it goes on
   * @throws WireFault WIRE_PROTOCOL when it is too large, and as soon as it cannot become a head any more
   */
  read(bytes: Buffer, offset: number): number
  /** Forgets a head that was begun. */
  reset(): void
}

const MAX_HEAD_BYTES = 64 * 1024
const FIRST_CAPACITY = 1024
const EMPTY = Buffer.alloc(0)
const END = '\r\n\r\n'
const START = 'HTTP/1.'
const [CR, LF] = [0x0d, 0x0a]

/** Every byte is copied and looked at a bounded number of times, in however small pieces it comes. */
export function createHeadReader(): HeadReader {
  let storage = EMPTY
  let size = 0
  let text = ''

  const check = (bytes: number): void => {
    if (bytes > MAX_HEAD_BYTES) throw protocolFault(`a header larger than ${MAX_HEAD_BYTES} bytes`)
  }
  const append = (bytes: Buffer, offset: number, count: number): void => {
    if (size + count > storage.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_CAPACITY, 2 * (size + count)))
      storage.copy(larger, 0, 0, size)
      storage = larger
    }
    bytes.copy(storage, size, offset, offset + count)
    size += count
  }
  /** What is no HTTP, or ends its lines otherwise, would keep us waiting for an end of the head. */
  const refuseHopeless = (from: number): void => {
    const begun = storage.subarray(0, size)
    if (from < START.length && !START.startsWith(begun.toString('latin1', 0, START.length)))
      throw protocolFault('its first line is no status line of HTTP/1.1')
    for (let at = begun.indexOf(LF, from); at >= 0; at = begun.indexOf(LF, at + 1)) {
      if (begun[at - 1] !== CR) throw protocolFault('a line of its header with a bare CR or LF')
    }
  }

  const collect = (bytes: Buffer, offset: number): number => {
    const before = size
    // One byte more than a head may have tells that it is too large.
    append(bytes, offset, Math.min(bytes.length - offset, MAX_HEAD_BYTES + END.length + 1 - before))
    const end = storage.subarray(0, size).indexOf(END, Math.max(0, before - 3), 'latin1')
    if (end < 0) {
      check(size - END.length)
      refuseHopeless(before)
      return -1
    }
    check(end)
    text = storage.toString('latin1', 0, end + 2)
    size = 0
    storage = EMPTY
    return offset + (end + END.length - before)
  }

  return {
    text: () => text,
    read(bytes, offset) {
      const end = size === 0 ? bytes.indexOf(END, offset, 'latin1') : -1
      if (end < 0) return collect(bytes, offset)
      check(end - offset)
      text = bytes.toString('latin1', offset, end + 2)
      return end + END.length
    },
    reset() {
      size = 0
      storage = EMPTY
    },
  }
}
