import { AppError } from './errors.ts'
import { scanMessage } from './json-scan.ts'
import type { ScannedObject } from './json-scan.ts'

// What the tests of json-scan.ts ask of it.

export function isAccepted(bytes: Uint8Array): boolean {
  try {
    scanMessage(bytes)
    return true
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_argument') return false
    throw error
  }
}

export function scanOne(text: string): ScannedObject {
  const scanned = scanMessage(Buffer.from(text))
  if (scanned.kind !== 'object') throw new Error('expected an object')
  return scanned
}
