/** Memory that connections read into, and that whoever is done with what was read gives back. */
export interface ReadMemory {
  /** As large as any other; what stands in it is of no meaning. */
  take(): Buffer
  /** From now on others may have it, or parts of it: it comes back with `giveBack`, or goes when nobody has it. */
  lend(memory: Buffer): void
  /** Takes back what was lent, by any part of it; anything else, and a second time, does nothing. Nobody may look at it any more. */
  giveBack(part: Uint8Array): void
  /** Lets go of a half of what nobody uses. */
  sweep(): void
}

const READ_BYTES = 64 * 1024
/** As much as a good many large answers have under way at a time. */
const MAX_FREE = 64

export function createReadMemory(): ReadMemory {
  const lent = new WeakMap<ArrayBufferLike, Buffer>()
  let free: Buffer[] = []
  return {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES),
    lend: (memory) => void lent.set(memory.buffer, memory),
    giveBack({ buffer }) {
      const memory = lent.get(buffer)
      if (!memory) return
      lent.delete(buffer)
      if (free.length < MAX_FREE) free.push(memory)
    },
    sweep() {
      free = free.slice(0, free.length >> 1)
    },
  }
}
