/** One HTTP answer: the head, and the body as far as it was kept. */
export interface Answer {
  head: string
  /** The beginning of the body; all of it when it is small. */
  body: string
  /** Of the whole body, in bytes. */
  length: number
}

/** So much of a body is kept to be looked at. */
const KEPT = 4096

/**
 * Reads the answers of one connection, one at a time: with a length or in chunks. As little work as will do, for it runs in the generator of the
 * load; whatever it cannot read is thrown.
 */
export class AnswerReader {
  #pending = ''
  #head: string | undefined
  #body = ''
  #length = 0
  /** Bytes of the body, or of the chunk under way, still to come; undefined while the next chunk's size is to be read. */
  #left: number | undefined
  #isChunked = false
  #isEvents = false

  /** The answer that `chunk` completes. Latin-1, so that characters are bytes. */
  push(chunk: string): Answer | undefined {
    this.#pending = this.#pending === '' ? chunk : this.#pending + chunk
    if (this.#head === undefined && !this.#readHead()) return undefined
    return this.#isChunked ? this.#readChunks() : this.#readCounted()
  }

  #readHead(): boolean {
    const end = this.#pending.indexOf('\r\n\r\n')
    if (end === -1) return false
    const head = this.#pending.slice(0, end)
    this.#head = head
    this.#pending = this.#pending.slice(end + 4)
    this.#isEvents = /\r\ncontent-type: text\/event-stream/i.test(head)
    this.#isChunked = /\r\ntransfer-encoding: chunked/i.test(head)
    this.#left = this.#isChunked ? undefined : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
    return true
  }

  #readCounted(): Answer | undefined {
    this.#takeBody()
    return this.#left === 0 ? this.#finish() : undefined
  }

  #readChunks(): Answer | undefined {
    for (;;) {
      if (this.#left === undefined) {
        const end = this.#pending.indexOf('\r\n')
        if (end === -1) return undefined
        const size = Number.parseInt(this.#pending.slice(0, end), 16)
        if (!(size >= 0)) throw new Error(`no chunk: ${this.#pending.slice(0, 100)}`)
        if (size === 0) {
          if (this.#pending.length < end + 4) return undefined
          this.#pending = this.#pending.slice(end + 4)
          return this.#finish()
        }
        this.#pending = this.#pending.slice(end + 2)
        this.#left = size
      }
      this.#takeBody()
      if (this.#left > 0 || this.#pending.length < 2) return undefined
      this.#pending = this.#pending.slice(2)
      this.#left = undefined
    }
  }

  #takeBody(): void {
    const take = Math.min(this.#left ?? 0, this.#pending.length)
    if (this.#body.length < KEPT) this.#body += take === this.#pending.length ? this.#pending : this.#pending.slice(0, take)
    this.#pending = take === this.#pending.length ? '' : this.#pending.slice(take)
    this.#length += take
    this.#left = (this.#left ?? 0) - take
  }

  #finish(): Answer {
    const answer = { head: this.#head ?? '', body: this.#isEvents ? dataOf(this.#body) : this.#body, length: this.#length }
    this.#head = undefined
    this.#body = ''
    this.#length = 0
    return answer
  }
}

/** The last message of a stream of events that has one line of data each. */
function dataOf(body: string): string {
  const at = body.lastIndexOf('data: {')
  return at === -1 ? body : body.slice(at + 6)
}
