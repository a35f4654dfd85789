import { createHash } from 'node:crypto'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ensurePrivateDirectory, readTextIfPresent, writeFileAtomic } from '../lib/atomic-file.ts'
import { scanMessage, textAt } from '../lib/json-scan.ts'
import type { ClientMessage } from './mcp-frame.ts'

/** What a server answered to the first questions of a client, kept for the next time it is slow or out of reach. */
export interface AnswerMemory {
  /** The whole answer with the id of this message; undefined when none is kept. */
  find(message: ClientMessage): Promise<Buffer | undefined>
  /** Keeps a result, and forgets the old one when there is no result. Tells whether it is another than the one kept. Never throws. */
  note(message: ClientMessage, line: Uint8Array): Promise<boolean>
}

export interface AnswerMemoryOptions {
  /** Of one caller: what one may see is not shown to another. Made when first needed. */
  folder: string
  server: string
  log: (line: string) => void
}

const MAX_BYTES = 1024 * 1024
const MAX_FILES = 500

/** Answers as files, one per server and question; a result of more than 1 MiB is not kept, nor more than 500. */
export function createAnswerMemory({ folder, server, log }: AnswerMemoryOptions): AnswerMemory {
  const pathOf = (message: ClientMessage): string | undefined => {
    const question = questionOf(message)
    return (
      question &&
      join(
        folder,
        `${createHash('sha256')
          .update(JSON.stringify([server, question]))
          .digest('hex')
          .slice(0, 40)}.json`,
      )
    )
  }
  const readKept = async (path: string): Promise<string | undefined> => {
    try {
      return await readTextIfPresent(path)
    } catch (thrown) {
      log(`what the server answered before cannot be read: ${String(thrown)}`)
      return undefined
    }
  }
  return {
    async find(message) {
      const path = pathOf(message)
      const result = path && (await readKept(path))
      return result && isResult(result) ? Buffer.from(`{"jsonrpc":"2.0","id":${message.ids[0]},"result":${result}}`) : undefined
    },
    async note(message, line) {
      const path = pathOf(message)
      if (path === undefined) return false
      const result = resultOf(line)
      try {
        if ((await readKept(path)) === result) return false
        await (result === undefined ? rm(path, { force: true }) : keep(folder, path, result))
      } catch (thrown) {
        log(`what the server answered cannot be kept: ${String(thrown)}`)
      }
      return true
    },
  }
}

/** Forgets everything kept for one caller. */
export async function forgetAnswers(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}

async function keep(folder: string, path: string, result: string): Promise<void> {
  await ensurePrivateDirectory(folder)
  await writeFileAtomic(path, result, { mode: 0o600 })
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json'))
  if (names.length <= MAX_FILES) return
  const dated = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })))
  for (const { name } of dated.toSorted((a, b) => a.at - b.at).slice(0, names.length - MAX_FILES))
    await rm(join(folder, name), { force: true })
}

/** What a message asks, if its answer is worth keeping: the same question has the same answer as long as the server does not change. */
function questionOf({ kind, method, modernVersion, line }: ClientMessage): string | undefined {
  if (kind !== 'request') return undefined
  if (method !== 'initialize' && method !== 'server/discover' && method !== 'tools/list') return undefined
  const { _meta: _, ...params } = objectOf(objectOf(JSON.parse(line.toString()))?.['params']) ?? {}
  // A further page is no first question.
  if (method === 'tools/list' && Object.keys(params).length > 0) return undefined
  return JSON.stringify([method, modernVersion ?? null, params])
}

/** The exact text of a complete result that stands alone; undefined for an error, a first page, a question back, or one that is too large. */
function resultOf(line: Uint8Array): string | undefined {
  const scanned = scanMessage(line)
  const span = scanned.kind === 'object' ? scanned.members.get('result') : undefined
  if (!span || span.end - span.start > MAX_BYTES) return undefined
  const text = textAt(line, span)
  const result = objectOf(JSON.parse(text))
  const type = result?.['resultType'] ?? 'complete'
  return result && type === 'complete' && result['nextCursor'] === undefined ? text : undefined
}

/** Whether what stands in a file may go to a client: it could have been damaged since. */
function isResult(text: string): boolean {
  try {
    return !/[\r\n]/.test(text) && objectOf(JSON.parse(text)) !== undefined
  } catch {
    return false
  }
}

function objectOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
}
