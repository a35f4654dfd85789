import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { generateKeyPair, parsePrivateKey, renderPrivateKey } from '../../ca/keys.ts'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'

const FILE = 'bound-keypair.json'
const stateSchema = z.object({ key: z.string(), join_state: z.string().optional() })

/** The key pair that the join method bound_keypair knows this host by; it never leaves it. */
export interface BoundKey {
  privateKey: KeyObject
  /** Of the last join: to be given back with the next. */
  joinState: string | undefined
}

/** The key of before, or a new one, kept before it is used. @throws AppError failed_precondition when the file is damaged. */
export async function openBoundKey(directory: string): Promise<BoundKey> {
  const path = join(directory, FILE)
  const text = await readTextIfPresent(path)
  if (text === undefined) {
    const { privateKey } = await generateKeyPair()
    await saveBoundKey(directory, { privateKey, joinState: undefined })
    return { privateKey, joinState: undefined }
  }
  try {
    const { key, join_state: joinState } = stateSchema.parse(JSON.parse(text))
    return { privateKey: parsePrivateKey(key), joinState }
  } catch (cause) {
    throw new AppError('failed_precondition', `${path} is damaged: remove it, and make a new join token for this host`, { cause })
  }
}

export async function saveBoundKey(directory: string, { privateKey, joinState }: BoundKey): Promise<void> {
  const state: z.infer<typeof stateSchema> = {
    key: renderPrivateKey(privateKey),
    ...(joinState !== undefined && { join_state: joinState }),
  }
  await writeFileAtomic(join(directory, FILE), `${JSON.stringify(state)}\n`, { mode: 0o600 })
}
