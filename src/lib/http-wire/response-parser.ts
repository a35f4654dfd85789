import { createChunkedBody } from './chunked-body.ts'
import { createHeadReader } from './head-reader.ts'
import { parseResponseHead } from './response-head.ts'
import type { ResponseHead } from './response-head.ts'
import { WireFault, protocolFault } from './wire-fault.ts'

/** Where the parts of an answer go, in order; interim answers (1xx) are left out. */
export interface ResponseSink {
  onHead(head: ResponseHead): void
  /** Never empty. */
  onData(chunk: Buffer): void
  /** `isClean` is false when more bytes came than belong to the answer, or when only the end of the connection ended it. */
  onEnd(isClean: boolean): void
}

/** Reads one answer after the other from the bytes of a connection. */
export interface ResponseParser {
  /** An answer is due: to a HEAD request it has no body. */
  begin(isHead: boolean): void
  /** Takes what came, whole or in any pieces. @throws WireFault WIRE_PROTOCOL */
  push(bytes: Buffer): void
  /** The other side will send no more. @throws WireFault WIRE_CLOSED when that is too early */
  finish(): void
}

const MAX_INTERIM = 32

/** Made for the answer that comes in one piece: its head is decoded and checked once, its body is a view of the bytes. */
export function createResponseParser(sink: ResponseSink): ResponseParser {
  const chunked = createChunkedBody((chunk) => sink.onData(chunk))
  const heads = createHeadReader()
  const readHead = createHeadMemory()
  let part: 'nothing' | 'head' | 'length' | 'chunked' | 'until-close' = 'nothing'
  let isHead = false
  let interim = 0
  let left = 0

  const end = (isClean: boolean): void => {
    part = 'nothing'
    sink.onEnd(isClean)
  }
  const takeBody = (bytes: Buffer, offset: number): void => {
    if (part === 'length') {
      const stop = Math.min(bytes.length, offset + left)
      left -= stop - offset
      if (stop > offset) sink.onData(stop - offset === bytes.length ? bytes : bytes.subarray(offset, stop))
      if (left === 0) end(stop === bytes.length)
    } else if (part === 'chunked') {
      const stop = chunked.read(bytes, offset)
      if (stop >= 0) end(stop === bytes.length)
    } else if (offset < bytes.length) sink.onData(offset === 0 ? bytes : bytes.subarray(offset))
  }
  const takeHead = (text: string): boolean => {
    const head = readHead(text, isHead)
    if (head.status < 200) {
      if (++interim > MAX_INTERIM) throw protocolFault(`more than ${MAX_INTERIM} interim answers`)
      return false
    }
    part = head.framing === 'none' ? 'length' : head.framing
    left = head.length
    if (part === 'chunked') chunked.reset()
    sink.onHead(head)
    return true
  }

  return {
    begin(head) {
      part = 'head'
      isHead = head
      interim = 0
      heads.reset()
    },
    push(bytes) {
      let offset = 0
      while (part === 'head') {
        offset = heads.read(bytes, offset)
        if (offset < 0) return
        if (takeHead(heads.text())) break
        if (offset === bytes.length) return
      }
      if (part === 'nothing') throw protocolFault('bytes that belong to no answer')
      takeBody(bytes, offset)
    },
    finish() {
      if (part === 'until-close') end(false)
      else throw new WireFault('WIRE_CLOSED', part === 'head' ? 'closed before the answer' : 'closed within the answer')
    },
  }
}

/** Most answers have the same head until the second in it is another. */
function createHeadMemory(): typeof parseResponseHead {
  let latest: { text: string; isHead: boolean; head: ResponseHead } | undefined
  return (text, isHead) => {
    if (latest?.text !== text || latest.isHead !== isHead) latest = { text, isHead, head: parseResponseHead(text, isHead) }
    return latest.head
  }
}
