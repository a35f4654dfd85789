import { isUtf8 } from 'node:buffer'
import { findKnownName, hasUnreliableKey, type KnownNames, MESSAGE_NAMES, PARAMS_NAMES } from './message-names.ts'

/**
 * The value of a message in the form JavaScript itself writes: a quick way to the verdict of `scanMessage` with its default limits for
 * most of what clients send. Text that comes out of `JSON.stringify(JSON.parse(text))` unchanged has no key twice, no white space and
 * no number or string that is written in another way, so every part of it is written as `JSON.stringify` writes the part.
 * Undefined for all else, which is not wrong for that: `scanMessage` has to judge it.
 */
export function parsePlain(bytes: Buffer): Record<string, unknown> | undefined {
  if (bytes.length > MAX_BYTES || bytes[0] !== OPEN_BRACE || !isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  // Who puts a space after the first colon does so after others: not worth parsing twice.
  if (text[text.indexOf(':') + 1] === ' ' || !isShallow(text) || hasUnreliableKey(text)) return undefined
  const message = parseObject(text)
  if (message === undefined || JSON.stringify(message) !== text || !hasPlainNames(message, MESSAGE_NAMES)) return undefined
  const { params } = message
  return isObject(params) && !hasPlainNames(params, PARAMS_NAMES) ? undefined : message
}

/** A text with more members than the default limit of `scanMessage` is longer. */
const MAX_BYTES = 8 * 1024
/** The default limit of `scanMessage`. A text with so few brackets cannot be nested deeper. */
const MAX_OPEN = 64
const OPEN_BRACE = 0x7b

function isShallow(text: string): boolean {
  let left = MAX_OPEN
  for (let at = text.indexOf('{'); at !== -1; at = text.indexOf('{', at + 1)) if (left-- === 0) return false
  for (let at = text.indexOf('['); at !== -1; at = text.indexOf('[', at + 1)) if (left-- === 0) return false
  return true
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined // scanMessage says what is wrong, and where
  }
}

/** Whether no key differs only in case from a known one. */
function hasPlainNames(object: Record<string, unknown>, names: KnownNames): boolean {
  for (const key of Object.keys(object)) {
    const known = findKnownName(names, key)
    if (known !== undefined && known !== key) return false
  }
  return true
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
