import { createHash } from 'node:crypto'

/** What models and clients accept everywhere: letters, digits, `_` and `-`, at most so many. */
const MAX_CHARS = 48
const LEGAL = /^[a-zA-Z0-9_-]+$/
const MAX_ORIGINAL_BYTES = 1024

/** Names that the gateway's own tools have. */
const RESERVED: ReadonlySet<string> = new Set(['search_tools', 'call_tool'])

/** Base32 characters of the hash in a name. Whoever finds a collision of a short one still meets a longer one. */
const HASH_CHARS = [6, 12, 26] as const
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** Whether a name that a server gave to a tool or prompt may get an exposed name at all: 1 to 1024 bytes of well-formed text without NUL. */
export function isNameable(original: string): boolean {
  return original !== '' && original.isWellFormed() && !original.includes('\0') && Buffer.byteLength(original) <= MAX_ORIGINAL_BYTES
}

/** Two exposed names that fold to the same are too alike to be told apart. */
export function foldName(exposed: string): string {
  return exposed.toLowerCase().replaceAll('-', '_')
}

/** Whether a person may choose this as an exposed name. */
export function isExposedName(name: string): boolean {
  return LEGAL.test(name) && name.length <= MAX_CHARS && !RESERVED.has(foldName(name))
}

/**
 * The names under which a tool or prompt of a server may stand among those of other servers, the best first: `SERVER_ORIGINAL` where that is
 * legal and short enough, then such with a part of a hash of both. The first whose fold nobody has is the one to take.
 */
export function proposeNames(server: string, original: string): string[] {
  const plain = `${server}_${original}`
  const digest = renderBase32(createHash('sha256').update(`${server}\0${original}`).digest())
  const legal = plain.replaceAll(/[^a-zA-Z0-9_-]/gu, '_')
  const hashed = HASH_CHARS.map((chars) => `${legal.slice(0, MAX_CHARS - 1 - chars)}_${digest.slice(0, chars)}`)
  return isExposedName(plain) ? [plain, ...hashed] : hashed
}

function renderBase32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let count = 0
  for (const byte of bytes) {
    bits = (bits << 8) | byte
    count += 8
    while (count >= 5) {
      count -= 5
      text += BASE32[(bits >> count) & 31] ?? ''
    }
    bits &= (1 << count) - 1
  }
  return text
}
