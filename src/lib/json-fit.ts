/**
 * The value, pruned until its JSON text has at most `maxBytes` bytes: first long strings are cut, then arrays and objects.
 * Every cut says what is missing (`…[+N bytes]`, `…[+N items]`, `…[+N members]`). A value that fits is returned itself.
 * Only when `maxBytes` is smaller than a marker can the result be larger.
 */
export function fitJson(value: unknown, maxBytes: number): unknown {
  const size = countBytes(value)
  if (size <= maxBytes) return value
  let fitting: unknown = `…[+${size} bytes]`
  const steps = listSteps(maxBytes)
  // Each step prunes more than the one before, so the first that fits is found by halving.
  for (let low = 0, high = steps.length; low < high;) {
    const middle = (low + high) >> 1
    const pruned = prune(value, steps[middle])
    if (countBytes(pruned) <= maxBytes) {
      fitting = pruned
      high = middle
    } else {
      low = middle + 1
    }
  }
  return fitting
}

/** The text cut to `chars` UTF-16 units, with a marker that counts the missing bytes, those of an earlier cut included. */
export function cutText(text: string, chars: number, missingBytes = 0): string {
  const marker = CUT.exec(text.slice(-LONGEST_MARKER))
  const body = marker ? text.slice(0, text.length - marker[0].length) : text
  const missing = missingBytes + Number(marker?.[1] ?? 0)
  if (body.length <= chars && missing === 0) return text
  const end = body.length > chars && isHighSurrogate(body.charCodeAt(chars - 1)) ? chars - 1 : chars
  const kept = body.slice(0, end)
  const count = missing + Buffer.byteLength(body) - Buffer.byteLength(kept)
  return `${kept}…[+${count} bytes]`
}

const CUT = /…\[\+(\d{1,15}) bytes\]$/
const LONGEST_MARKER = 28
const SHORTEST_TEXT = 32

interface Step {
  readonly chars: number
  readonly items: number
}

function listSteps(maxBytes: number): Step[] {
  const steps: Step[] = []
  for (let chars = maxBytes; chars > SHORTEST_TEXT; chars = Math.floor(chars / 2)) steps.push({ chars, items: Number.POSITIVE_INFINITY })
  for (let items = 256; items >= 1; items = Math.floor(items / 2)) steps.push({ chars: SHORTEST_TEXT, items })
  return steps
}

function prune(value: unknown, step: Step = { chars: SHORTEST_TEXT, items: 1 }): unknown {
  const { chars, items } = step
  if (typeof value === 'string') return cutText(value, chars)
  if (typeof value !== 'object' || value === null || JSON.isRawJSON(value)) return value
  if (Array.isArray(value)) {
    const kept: unknown[] = value.slice(0, items).map((item: unknown) => prune(item, step))
    return value.length > items ? [...kept, `…[+${value.length - items} items]`] : kept
  }
  const all = Object.entries(value)
  const kept = all.slice(0, items).map(([key, item]): [string, unknown] => [cutText(key, chars), prune(item, step)])
  if (all.length > items) kept.push(['…', `[+${all.length - items} members]`])
  return Object.fromEntries(kept)
}

/** Bytes of the value's JSON text; 0 for one that has none. */
export function countBytes(value: unknown): number {
  const text: string | undefined = JSON.stringify(value)
  return text === undefined ? 0 : Buffer.byteLength(text)
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}
