import { idKey } from './request-ids.ts'

/** Members that say what a message is. Some readers take keys in any case for them, and of two the first or the last. */
const TELLING: ReadonlySet<string> = new Set(['id', 'method', 'result', 'error'])
/** Bytes of a key that could be one of these, every letter escaped. */
const MAX_KEY = 64
/** Bytes of an id: those of the longest that a client may send, each character escaped. */
const MAX_ID = 6 * 16_384

const IS_PLAIN = /^[ -~]*$/

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

/**
 * What one message of a server says of itself at its outermost level, read as it comes and without keeping it. Clients sort what they get by
 * id, whatever stream it came on, so an answer that two readers could take for answers to different requests is an answer to none.
 */
export class MessageHead {
  readonly #found = new Set<string>()
  #depth = 0
  #isInString = false
  #isEscaped = false
  /** Whether the next string at the outermost level is a key. */
  #isKeyNext = false
  /** What is being collected: a key, or the id. */
  #taking: 'key' | 'id' | undefined
  /** Its bytes, each as a character. */
  #taken = ''
  #key = ''
  #id: string | undefined
  #isClear = true

  push(chunk: Uint8Array): this {
    // One for all members: each would look for the next backslash anew, which may be far.
    const turns = new Turns(chunk)
    for (let at = 0; at < chunk.length && this.#isClear; at++) {
      if (this.#depth > 1 && this.#taking === undefined) at = this.#passInner(chunk, at, turns)
      const byte = chunk[at]
      if (byte === undefined) break
      if (this.#isInString) this.#inString(byte)
      else this.#outside(byte)
    }
    return this
  }

  /** Whether it is one object whose telling members stand there once, each in its own spelling, and it is either a call or an answer. */
  get isClear(): boolean {
    const isAnswer = this.#found.has('result') !== this.#found.has('error')
    const isCall = this.#found.has('method') && !this.#found.has('result') && !this.#found.has('error')
    return this.#isClear && this.#depth === 0 && (isCall || (isAnswer && !this.#found.has('method')))
  }

  /** The `idKey` of the request that it can only be the answer to; undefined when it is no clear answer. */
  get answered(): string | undefined {
    return this.isClear && !this.#found.has('method') ? (this.#id ?? 'null') : undefined
  }

  /** Whether it can only be the answer to the request with this `idKey`; an error without an id says that the request could not be read. */
  isAnswerTo(key: string): boolean {
    return this.isClear && !this.#found.has('method') && (this.#id === key || (this.#found.has('error') && (this.#id ?? 'null') === 'null'))
  }

  /** Whether it cannot be that answer any more, whatever is to come. */
  isOtherThan(key: string): boolean {
    return !this.#isClear || this.#found.has('method') || (this.#id !== undefined && this.#id !== key && this.#id !== 'null')
  }

  /** Goes over what is inside of a member, where only brackets and strings count, to the bracket that may end it, or to the end of the chunk. */
  #passInner(chunk: Uint8Array, from: number, turns: Turns): number {
    let depth = this.#depth
    let isInString = this.#isInString
    let isEscaped = this.#isEscaped
    let at = from
    for (; at < chunk.length; at++) {
      if (isInString) {
        if (!isEscaped) at = turns.next(at)
        isInString = isEscaped || chunk[at] !== QUOTE
        isEscaped = !isEscaped && chunk[at] === BACKSLASH
      } else {
        const byte = chunk[at] ?? 0
        if (byte === QUOTE) isInString = true
        else if (byte >= OPEN_BRACKET) {
          if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1
          else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
            if (depth === 2) break
            depth -= 1
          }
        }
      }
    }
    this.#depth = depth
    this.#isInString = isInString
    this.#isEscaped = isEscaped
    return at
  }

  #inString(byte: number): void {
    this.#take(byte)
    if (this.#isEscaped) this.#isEscaped = false
    else if (byte === BACKSLASH) this.#isEscaped = true
    else if (byte === QUOTE) {
      this.#isInString = false
      if (this.#taking === 'key') this.#endKey()
    }
  }

  #outside(byte: number): void {
    if (byte === QUOTE) {
      if (this.#depth === 0) this.#isClear = false
      if (this.#depth === 1 && this.#isKeyNext) this.#begin('key')
      this.#isInString = true
    } else if (this.#depth === 1 && (byte === COMMA || byte === CLOSE_BRACE)) {
      if (this.#taking === 'id') this.#endId()
      this.#isKeyNext = true
    } else if (this.#depth === 1 && byte === COLON) {
      if (this.#key === 'id') this.#begin('id')
      this.#isKeyNext = false
      return
    }
    this.#nest(byte)
    this.#take(byte)
  }

  #nest(byte: number): void {
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      // Two texts, or a list: no message.
      if (this.#depth === 0 && (byte === OPEN_BRACKET || this.#isKeyNext)) this.#isClear = false
      this.#depth += 1
      if (this.#depth === 1) this.#isKeyNext = true
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      this.#depth -= 1
      if (this.#depth < 0) this.#isClear = false
    }
  }

  #begin(what: 'key' | 'id'): void {
    this.#taking = what
    this.#taken = ''
  }

  #take(byte: number): void {
    if (this.#taking === undefined) return
    this.#taken += String.fromCharCode(byte)
    if (this.#taken.length <= (this.#taking === 'key' ? MAX_KEY : MAX_ID)) return
    if (this.#taking === 'id') this.#isClear = false
    this.#taking = undefined
    this.#key = ''
  }

  #endKey(): void {
    this.#taking = undefined
    const key = readText(this.#taken)
    const folded = typeof key === 'string' ? key.toUpperCase().toLowerCase() : ''
    this.#key = folded
    if (!TELLING.has(folded)) return
    if (key !== folded || this.#found.has(folded)) this.#isClear = false
    this.#found.add(folded)
  }

  #endId(): void {
    this.#taking = undefined
    const id = readText(this.#taken)
    if (typeof id === 'string' || typeof id === 'number' || id === null) this.#id = idKey(id)
    else this.#isClear = false
  }
}

/** Of a whole message. */
export function readHead(text: string | Buffer): MessageHead {
  return new MessageHead().push(typeof text === 'string' ? Buffer.from(text) : text)
}

/** As many bytes are looked at one by one: most strings are short. */
const NEAR = 32

/** The quotes and backslashes of a chunk. */
class Turns {
  readonly #chunk: Uint8Array
  #quote = -1
  #backslash = -1

  constructor(chunk: Uint8Array) {
    this.#chunk = chunk
  }

  /** The place of the next one, or the length when there is none. What is far is found without a look at each byte, and looked for once. */
  next(from: number): number {
    const chunk = this.#chunk
    const near = Math.min(from + NEAR, chunk.length)
    for (let at = from; at < near; at++) if (chunk[at] === QUOTE || chunk[at] === BACKSLASH) return at
    if (this.#quote < near) this.#quote = findByte(chunk, QUOTE, near)
    if (this.#backslash < near) this.#backslash = findByte(chunk, BACKSLASH, near)
    return Math.min(this.#quote, this.#backslash)
  }
}

/** The place of a byte, or the length when there is none. */
function findByte(bytes: Uint8Array, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from)
  return at === -1 ? bytes.length : at
}

/** Undefined for what is not JSON. @param bytes as characters. */
function readText(bytes: string): unknown {
  try {
    return JSON.parse(IS_PLAIN.test(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8'))
  } catch {
    return undefined // the caller says what that means
  }
}
