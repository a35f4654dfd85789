/** How far whole records go: the writer's newest segment and its size. */
export interface JournalEnd {
  segment: number
  size: number
}

/** The end of a journal in memory that threads share, and whether the reader sleeps. */
export class SharedEnd {
  readonly memory: SharedArrayBuffer
  readonly #end: BigInt64Array
  readonly #asleep: Int32Array

  /** @param memory of the same journal's end in another thread; new without. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.memory = memory
    this.#end = new BigInt64Array(memory, 0, 1)
    this.#asleep = new Int32Array(memory, 8, 1)
  }

  /** Both numbers in one word, so that nobody sees the segment of one and the size of another. */
  store({ segment, size }: JournalEnd): void {
    Atomics.store(this.#end, 0, (BigInt(segment) << SIZE_BITS) | BigInt(size))
  }

  load(): JournalEnd {
    const word = Atomics.load(this.#end, 0)
    return { segment: Number(word >> SIZE_BITS), size: Number(word & SIZE_MASK) }
  }

  /** The reader is about to sleep: whoever moves the end from now on has to wake it. Look at the end once more after this. */
  sleep(): void {
    Atomics.store(this.#asleep, 0, 1)
  }

  /** Whether the reader sleeps and it is the caller's to wake it; true only once for each sleep. */
  takeSleeper(): boolean {
    return Atomics.load(this.#asleep, 0) === 1 && Atomics.exchange(this.#asleep, 0, 0) === 1
  }
}

const SIZE_BITS = 40n
const SIZE_MASK = (1n << SIZE_BITS) - 1n
