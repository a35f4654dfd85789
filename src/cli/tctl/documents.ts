import type { StoredResource } from '../../client/admin.ts'
import { readTextIfPresent } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import { readBounded } from '../../lib/read-bounded.ts'
import { checkAgainst } from '../../lib/schema.ts'
import { parseYamlDocuments } from '../../lib/yaml.ts'
import { kindRow, parseKind } from '../../resources/registry.ts'
import type { TctlIo } from './context.ts'

const MAX_INPUT_BYTES = 4 * 1024 * 1024

/** A resource as it was written, known to be one. */
export interface Written {
  resource: StoredResource
  /** Which document of the file, from 1, and how many there are. */
  index: number
  count: number
}

/** Reads a file, or standard input for `-` or nothing. */
export async function readInput(file: string | undefined, { stdin }: TctlIo): Promise<{ text: string; fileName: string }> {
  if (file !== undefined && file !== '-') {
    const text = await readTextIfPresent(file)
    if (text === undefined) throw new AppError('not_found', `there is no file ${file}`)
    return { text, fileName: file }
  }
  if (stdin.isTTY) throw new AppError('invalid_argument', 'name a file, or give the documents on standard input')
  const tooLarge = (): AppError => new AppError('resource_exhausted', 'standard input holds more than 4 MiB: split it')
  const bytes = await readBounded(stdin, MAX_INPUT_BYTES, tooLarge)
  return { text: bytes.toString(), fileName: 'stdin' }
}

/** All documents, each checked against its kind before anything is sent. Faults throw `invalid_argument` with `file:line:column`. */
export function parseResources(text: string, fileName: string): Written[] {
  const documents = parseYamlDocuments(text, fileName)
  if (documents.length === 0) throw new AppError('invalid_argument', `${fileName} holds no resources`)
  return documents.map((document, index) => {
    const { value } = document
    const word: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'kind') : undefined
    if (typeof word !== 'string' || typeof value !== 'object') {
      const { line, column } = document.positionOf([])
      throw new AppError(
        'invalid_argument',
        `${fileName}:${line}:${column} kind: required: every resource says what it is, such as kind: app`,
      )
    }
    const kind = atPosition(() => parseKind(word), fileName, document.positionOf(['kind']))
    const resource = checkAgainst(kindRow(kind).schema, { ...document, value: { ...value, kind } }, fileName)
    return {
      resource: { ...resource, kind, metadata: { ...resource.metadata }, spec: resource.spec },
      index: index + 1,
      count: documents.length,
    }
  })
}

/** `role "access"`. */
export function titleOf(resource: { kind: string; metadata: { name: string } }): string {
  return `${resource.kind} ${JSON.stringify(resource.metadata.name)}`
}

function atPosition<T>(read: () => T, fileName: string, { line, column }: { line: number; column: number }): T {
  try {
    return read()
  } catch (thrown) {
    if (thrown instanceof AppError) throw new AppError(thrown.code, `${fileName}:${line}:${column} ${thrown.message}`, { cause: thrown })
    throw thrown
  }
}
