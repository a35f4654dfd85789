import { assignMcpNames, findMcpName } from '../api/mcp-names.ts'
import { AppError } from '../lib/errors.ts'
import type { ApiClient } from './call.ts'

export type NamedKind = 'tool' | 'prompt'

/** The most one call asks for, and the most characters of it, well below what the Auth Service takes. */
const MAX_ASKED = 500
const MAX_ASKED_CHARS = 100_000

/** Exposed names of a server's tools or prompts, in the order asked; null for one that gets none. Originals have at most 1024 characters. */
export async function assignNames(
  api: ApiClient,
  { server, what, originals }: { server: string; what: NamedKind; originals: readonly string[] },
): Promise<(string | null)[]> {
  const names: (string | null)[] = []
  for (const batch of batchesOf(originals)) {
    const { exposed } = await api(assignMcpNames, { server, what, originals: batch })
    if (exposed.length !== batch.length) throw new AppError('unavailable', 'the Auth Service gave another number of names than asked for')
    names.push(...exposed)
  }
  return names
}

/** What an exposed name stands for. */
export async function findName(
  api: ApiClient,
  what: NamedKind,
  exposed: string,
): Promise<{ server: string; original: string } | undefined> {
  return (await api(findMcpName, { what, exposed })).found ?? undefined
}

function batchesOf(originals: readonly string[]): string[][] {
  const batches: string[][] = []
  let batch: string[] = []
  let chars = 0
  for (const original of originals) {
    if (batch.length === MAX_ASKED || chars + original.length > MAX_ASKED_CHARS) {
      batches.push(batch)
      batch = []
      chars = 0
    }
    batch.push(original)
    chars += original.length
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}
