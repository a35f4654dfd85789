import { createByteBuffer, tooLarge } from './byte-buffer.ts'

export interface LineReader {
  /**
   * The lines completed by `chunk`, without their line end; empty ones are left out. They may share memory with the chunk, which nobody may change.
   * Throws `resource_exhausted` once when a line is over the limit. The stream has lost its place then: what follows is dropped.
   */
  push(chunk: Uint8Array): Buffer[]
  /** The last line when the stream ended without a line end. */
  end(): Buffer | undefined
}

export interface LineLimits {
  /** Of one line, its newline not counted. Default 16 MiB. */
  readonly maxLineBytes?: number
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

/** Splits a byte stream into the newline-delimited messages of the MCP stdio transport. A carriage return before the newline is dropped. */
export function createLineReader({ maxLineBytes = 16 * 1024 * 1024 }: LineLimits = {}): LineReader {
  const pending = createByteBuffer(maxLineBytes, 'a line')
  let overflowed = false

  function push(chunk: Uint8Array): Buffer[] {
    const lines: Buffer[] = []
    if (overflowed) return lines
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let start = 0
    try {
      for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
        const line = trim(complete(bytes.subarray(start, end)))
        if (line.length > 0) lines.push(line)
        start = end + 1
      }
      if (start < bytes.length) pending.adopt(bytes.subarray(start))
      return lines
    } catch (error) {
      overflowed = true
      throw error
    }
  }

  function complete(bytes: Buffer): Buffer {
    if (bytes.length > maxLineBytes) throw tooLarge(maxLineBytes, 'a line')
    if (pending.length === 0) return bytes
    pending.adopt(bytes)
    return pending.take()
  }

  return {
    push,
    end() {
      const line = trim(pending.take())
      return line.length > 0 ? line : undefined
    },
  }
}

function trim(line: Buffer): Buffer {
  return line[line.length - 1] === CARRIAGE_RETURN ? line.subarray(0, -1) : line
}
