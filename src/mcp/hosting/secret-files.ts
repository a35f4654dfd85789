import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { AppError } from '../../lib/errors.ts'
import { findVariableFault, MAX_VARIABLES } from '../../resources/hosting.ts'
import { findTurnable } from './trusted-path.ts'

const MAX_FILE_BYTES = 64 * 1024

/** Where secret variables come from; as in `env_from`. */
export type SecretSource = { file: string } | { secret: string }

/**
 * The variables of secret files on this machine and of secrets of the cluster, later ones over earlier ones. Nothing of a value is in any error.
 *
 * A file is lines of `NAME=value`, `export ` before it allowed; `#` begins a comment line; a value may stand in single quotes (as it is) or in double quotes
 * (with `\n`, `\"`, `\\` and `\$`). It must be a regular file of root or of the agent's user (`uid`) that others may not read and only its owner may write, at a place
 * where nobody else can put another file, or a link to one: a server could have itself given the secrets of another.
 *
 * @throws AppError failed_precondition with the file and what is wrong with it.
 */
export async function readSecretFiles(
  sources: readonly SecretSource[],
  uid: number,
  readSecret?: (name: string) => string | Promise<string>,
): Promise<Map<string, string>> {
  const values = new Map<string, string>()
  for (const source of sources) {
    if ('file' in source) parse('file', source.file, await readSecretFile(source.file, uid), values)
    else if (readSecret) parse('secret', source.secret, await readSecret(source.secret), values)
    else throw refused('secret', source.secret, 'cannot be read: there are no secrets here')
  }
  return values
}

async function readSecretFile(path: string, uid: number): Promise<string> {
  let file: FileHandle
  try {
    // A FIFO would be waited for.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason'
    throw refused('file', path, `cannot be read by the agent (${code})`, cause)
  }
  try {
    const stat = await file.stat()
    const { uid: owner, mode, size } = stat
    if (!stat.isFile()) throw refused('file', path, 'is no regular file')
    if (owner !== 0 && owner !== uid) throw refused('file', path, 'must be owned by root or the agent’s user')
    if ((mode & 0o007) !== 0) throw refused('file', path, 'may be read or written by others: chmod o= it')
    if ((mode & 0o020) !== 0) throw refused('file', path, 'may be written by its group: chmod g-w it')
    if (size > MAX_FILE_BYTES) throw refused('file', path, `has more than ${MAX_FILE_BYTES} bytes`)
    const turnable = await findTurnable(path, uid)
    if (turnable !== undefined)
      throw refused(
        'file',
        path,
        `could be replaced by others, at ${turnable}: keep it in directories that only root or the agent’s user may write to`,
      )
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length)
      length += bytesRead
      if (length > MAX_FILE_BYTES) throw refused('file', path, `has more than ${MAX_FILE_BYTES} bytes`)
      if (bytesRead === 0) return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length))
    }
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    if (thrown instanceof Error && 'syscall' in thrown) throw refused('file', path, 'cannot be read by the agent', thrown)
    throw refused('file', path, 'is not UTF-8 text', undefined)
  } finally {
    await file.close()
  }
}

const LINE = /^(?:export[ \t]+)?([^=\s]+)[ \t]*=[ \t]*(.*)$/s

function parse(kind: 'file' | 'secret', name: string, text: string, values: Map<string, string>): void {
  for (const [index, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const [, variable, written] = LINE.exec(trimmed) ?? []
    const value = written === undefined ? undefined : unquote(written)
    if (variable === undefined || value === undefined) throw refused(kind, name, `line ${index + 1} is not NAME=value`)
    const fault = findVariableFault(variable, value)
    if (fault) throw refused(kind, name, `line ${index + 1}: the variable ${fault}`)
    values.set(variable, value)
    if (values.size > MAX_VARIABLES) throw refused(kind, name, `has more than ${MAX_VARIABLES} variables`)
  }
}

/** Undefined when a quote is not closed, or something follows it. */
function unquote(written: string): string | undefined {
  if (written.startsWith("'")) return /^'([^']*)'(?:\s+#.*)?$/.exec(written)?.[1]
  if (!written.startsWith('"')) return written.replace(/\s+#.*$/, '')
  const inner = /^"((?:[^"\\]|\\.)*)"(?:\s+#.*)?$/.exec(written)?.[1]
  return inner?.replace(/\\(.)/g, (_, character: string) =>
    character === 'n' ? '\n' : '"\\$'.includes(character) ? character : `\\${character}`,
  )
}

function refused(kind: 'file' | 'secret', name: string, why: string, cause?: unknown): AppError {
  return new AppError('failed_precondition', `env_from ${kind} ${JSON.stringify(name)} ${why}`, { cause })
}
