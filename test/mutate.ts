/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export function pick<T>(random: () => number, from: readonly T[]): T {
  const found = from[Math.floor(random() * from.length)]
  if (found === undefined) throw new Error('nothing to pick from')
  return found
}

/** A valid message with one to three things wrong with it, or only unusual: as bytes, for not all of them are text. */
export function mutate(text: string, random: () => number): Buffer {
  let bytes: Buffer = Buffer.from(text)
  for (let times = 1 + Math.floor(random() * random() * 3); times > 0; times--) {
    const change = pick(random, random() < 0.7 ? IN_TEXT : IN_BYTES)
    bytes = change(bytes, random)
  }
  return bytes
}

type Change = (bytes: Buffer, random: () => number) => Buffer

const VALUES = [
  'null',
  'true',
  '""',
  '"a"',
  '0',
  '-0',
  '1.5',
  '1.0',
  '1e400',
  '-1e-400',
  '9007199254740993',
  '123456789012345678901234567890',
  '01',
  '+1',
  'NaN',
  '{}',
  '[]',
  '[[]]',
  '{"a":1}',
  '{"a":1,"a":2}',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\u0000"',
  '"rm"',
  '"tools/call"',
  `"${'i'.repeat(10_000)}"`,
  `"${'\u00e9'.repeat(20_000)}"`,
  '9'.repeat(5000),
]
const KEYS = [
  'id',
  'method',
  'params',
  'name',
  'arguments',
  'uri',
  '_meta',
  'jsonrpc',
  'result',
  'error',
  '__proto__',
  'progressToken',
  'tools',
]
const PIECES = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  '\\u0061',
  '/**/',
  '//',
  '\n',
  '\r\n',
  '\u2028',
  ' ',
  '\t',
  '-',
  'e',
  '.',
  "'",
  '\ufeff',
  '0x1',
]
const BYTES = [
  [0xc3],
  [0xe2, 0x82],
  [0xed, 0xa0, 0x80],
  [0xf5, 0x80, 0x80, 0x80],
  [0xc0, 0x80],
  [0xff],
  [0x00],
  [0x1f],
  [0x7f],
  [0xef, 0xbb, 0xbf],
]

/** Changes that know what JSON looks like. */
const IN_TEXT: readonly Change[] = [
  // a value of another kind
  replaced(/"(?:[^"\\]|\\.)*"(?=\s*[,}\]])|-?\d+(?:\.\d+)?(?=\s*[,}\]])|\{\}|true|null/g, (_, random) => pick(random, VALUES)),
  // a member twice, in the same spelling or another
  replaced(/"([a-zA-Z_]+)":/g, (found, random) => `${respell(found, random)}${pick(random, VALUES)},${found}`),
  replaced(
    /"([a-zA-Z_]+)":("[^"]*"|\d+)/g,
    (found, random) => `${found},${respell(found.replace(/:.*/, ':'), random)}${pick(random, VALUES)}`,
  ),
  // a key in another spelling
  replaced(/"([a-zA-Z_]+)":/g, respell),
  // another member
  replaced(/[{]/g, (found, random) => `${found}"${pick(random, KEYS)}":${pick(random, VALUES)},`),
  // a tool or method that is not allowed, escaped or not
  replaced(/"(?:echo|tools\/list|ping|note:[^"]*|greet)"/g, (_, random) =>
    pick(random, [
      '"rm"',
      '"\\u0072m"',
      '"note://secret"',
      '"resources/read"',
      '"tools\\/call"',
      '"Echo"',
      '"echo "',
      '"echo\\u0000"',
      '"completion/complete"',
    ]),
  ),
  // nested deeply
  replaced(/\{\}|"[^"]*"(?=\s*[,}])/g, (found, random) => {
    const depth = pick(random, [10, 60, 70, 600, 20_000])
    return random() < 0.5 ? `${'['.repeat(depth)}${found}${']'.repeat(depth)}` : `${'{"a":'.repeat(depth)}${found}${'}'.repeat(depth)}`
  }),
  // many keys
  replaced(/\{\}/g, () => `{${Array.from({ length: 12_000 }, (_, i) => `"k${i}":0`).join()}}`),
  // a batch, or what looks like one
  (bytes, random) =>
    Buffer.from(
      pick(random, ['[TEXT]', '[TEXT,TEXT]', ' [ TEXT ] ', '[[TEXT]]', '[]', '[1,TEXT]', 'TEXT TEXT', 'TEXT\nTEXT']).replaceAll(
        'TEXT',
        () => bytes.toString(),
      ),
    ),
  replaced(/[,:{}]/g, (found, random) => found + pick(random, PIECES)),
]

/** Changes of any bytes. */
const IN_BYTES: readonly Change[] = [
  (bytes, random) => splice(bytes, place(bytes, random), 1, []),
  (bytes, random) => splice(bytes, place(bytes, random), 1, [Math.floor(random() * 256)]),
  (bytes, random) => splice(bytes, place(bytes, random), 0, pick(random, BYTES)),
  (bytes, random) => splice(bytes, place(bytes, random), 0, Buffer.from(pick(random, PIECES))),
  (bytes, random) => bytes.subarray(0, place(bytes, random)),
  (bytes, random) => {
    const from = place(bytes, random)
    const part = bytes.subarray(from, from + 1 + Math.floor(random() * 40))
    return splice(bytes, place(bytes, random), 0, part)
  },
  (bytes, random) => (random() < 0.2 ? Buffer.from(bytes.toString(), 'utf16le') : splice(bytes, place(bytes, random), 1, [0x20])),
]

function replaced(pattern: RegExp, by: (found: string, random: () => number) => string): Change {
  return (bytes, random) => {
    const text = bytes.toString()
    const found = [...text.matchAll(pattern)]
    if (found.length === 0) return bytes
    const { 0: before, index } = pick(random, found)
    return Buffer.from(text.slice(0, index) + by(before, random) + text.slice(index + before.length))
  }
}

/** The same key to a reader that passes over case, or that folds more than ASCII; or the same to all, written otherwise. */
function respell(key: string, random: () => number): string {
  return pick(random, [
    (text: string) => text,
    (text: string) => text.toUpperCase(),
    (text: string) => text.replace(/[a-z]/, (letter) => letter.toUpperCase()),
    (text: string) => text.replace('s', '\u017f').replace('k', '\u212a'),
    (text: string) => text.replace('i', '\u0130'),
    (text: string) => text.replace(/[a-z]/, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`),
    (text: string) => text.replace(/^"/, '" '),
    (text: string) => text.replace(/":$/, '\\u0000":'),
  ])(key)
}

function splice(bytes: Buffer, at: number, drop: number, put: Iterable<number>): Buffer {
  return Buffer.concat([bytes.subarray(0, at), Buffer.from([...put]), bytes.subarray(at + drop)])
}

function place(bytes: Buffer, random: () => number): number {
  return Math.floor(random() * (bytes.length + 1))
}
