/**
 * All bytes of a stream; text pieces count as UTF-8. Throws what `tooLarge` makes as soon as there are more than `maxBytes`.
 */
export async function readBounded(stream: AsyncIterable<unknown>, maxBytes: number, tooLarge: () => Error): Promise<Buffer> {
  const chunks: Buffer[] = []
  let total = 0
  for await (const piece of stream) {
    const bytes = piece instanceof Uint8Array ? Buffer.from(piece) : Buffer.from(String(piece))
    total += bytes.length
    if (total > maxBytes) throw tooLarge()
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}
