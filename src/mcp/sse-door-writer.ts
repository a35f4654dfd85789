import type { Answer } from '../lib/http-exchange.ts'

/** The client's stream, written to by many at a time. A client that does not read is cut off. */
export class SseDoorWriter {
  readonly #answer: Answer
  readonly #maxBytes: number
  readonly #onCut: () => void
  /** Bytes written since the client fell behind. */
  #behind = 0
  #draining: Promise<void> | undefined
  #isOver = false

  constructor(answer: Answer, maxBytes: number, onCut: () => void) {
    this.#answer = answer
    this.#maxBytes = maxBytes
    this.#onCut = onCut
  }

  /** False when the client is slow: wait for `drained` before the next write. */
  write(chunk: Uint8Array): boolean {
    if (this.#isOver) return true
    const isFast = this.#answer.write(chunk)
    if (isFast && !this.#draining) return true
    this.#behind += chunk.byteLength
    if (this.#behind > this.#maxBytes) {
      this.#isOver = true
      this.#answer.abort('the client does not read its event stream')
      this.#onCut()
      return true
    }
    this.#draining ??= this.#answer.drained().finally(() => {
      this.#behind = 0
      this.#draining = undefined
    })
    return false
  }

  drained(): Promise<void> {
    return this.#draining ?? Promise.resolve()
  }

  /** Ends the stream, with a comment that says why. */
  end(reason: string): void {
    if (this.#isOver) return
    if (reason !== '') this.#answer.write(Buffer.from(`: ${reason.replaceAll(/[\r\n]+/g, ' ')}\n\n`))
    this.#isOver = true
    this.#answer.end()
  }
}
