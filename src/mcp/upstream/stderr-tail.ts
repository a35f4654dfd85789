/** The last lines a server wrote to stderr, of all its processes. */
export interface StderrTail {
  push(line: string): void
  /** Oldest first. */
  lines(): string[]
}

const MAX_LINES = 200
const MAX_LINE_BYTES = 4096
const MAX_TOTAL = 256 * 1024

/** Keeps 200 lines and 256 KiB of text, whichever is less. */
export function createStderrTail(): StderrTail {
  const kept: string[] = []
  let total = 0
  return {
    push(line) {
      kept.push(line)
      total += line.length
      while (kept.length > MAX_LINES || total > MAX_TOTAL) total -= kept.shift()?.length ?? 0
    },
    lines: () => [...kept],
  }
}

/**
 * Cuts what one process writes to stderr into lines for `onLine`: without escape sequences and control characters, at most 4 KiB each (the
 * rest of a longer line is dropped), empty ones left out. `end` gives out an unfinished last line.
 */
export function createStderrLines(onLine: (line: string) => void): { push(chunk: Buffer): void; end(): void } {
  let parts: Buffer[] = []
  let size = 0
  const add = (part: Buffer): void => {
    const room = part.subarray(0, MAX_LINE_BYTES - size)
    // Copied, so that a short line does not hold on to a whole read buffer.
    if (room.length > 0) parts.push(Buffer.from(room))
    size += room.length
  }
  const finish = (): void => {
    const line = printable(Buffer.concat(parts).toString('utf8'))
    parts = []
    size = 0
    if (line) onLine(line)
  }
  return {
    push(chunk) {
      let start = 0
      for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
        add(chunk.subarray(start, end))
        finish()
        start = end + 1
      }
      add(chunk.subarray(start))
    },
    end: finish,
  }
}

/** ECMA-48 control sequences and operating system commands, then what is left of controls and direction marks. */
const ESCAPES = /\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?/g
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

function printable(text: string): string {
  return text.replace(ESCAPES, '').replaceAll('\t', ' ').replace(CONTROLS, '').trim()
}
