import { readFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { z } from 'zod'
import { AppError } from '../../lib/errors.ts'
import { parseConnString } from '../../storage/postgres-address.ts'
import type { StoreLocation } from '../../storage/store.ts'

/** `teleport.storage` of sallyport.yaml. No message about it repeats a connection string. */
export const storageConfigSchema = z
  .strictObject({
    type: z
      .enum(['sqlite', 'postgresql'])
      .default('sqlite')
      .describe('`sqlite`: a file beside this process; `postgresql`: a server, also for several processes of one cluster.'),
    path: z.string().min(1).optional().describe('Of `sqlite`: the directory of the database file; `data_dir` unless told.'),
    conn_string: z
      .string()
      .optional()
      .describe('Of `postgresql`: `postgresql://USER:PASSWORD@HOST/DATABASE`, with parameters as docs/guides/postgresql.md lists them.'),
    conn_string_file: z.string().min(1).optional().describe('Of `postgresql`: a file that holds the `conn_string`, in its place.'),
  })
  .superRefine(({ type, path, conn_string, conn_string_file }, context) => {
    const fault = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message })
    const isSqlite = type === 'sqlite'
    if (isSqlite && conn_string !== undefined) fault('conn_string', 'is for type: postgresql')
    if (isSqlite && conn_string_file !== undefined) fault('conn_string_file', 'is for type: postgresql')
    if (isSqlite) return
    if (path !== undefined) fault('path', 'is for type: sqlite')
    if (conn_string === undefined && conn_string_file === undefined) fault('conn_string', 'required, or conn_string_file')
    if (conn_string !== undefined && conn_string_file !== undefined) fault('conn_string_file', 'stands for conn_string: keep one')
    const wrong = conn_string === undefined ? undefined : findFault(conn_string)
    if (wrong !== undefined) fault('conn_string', wrong)
  })
  .describe('Where the Auth Service keeps what it knows: an SQLite file in `data_dir` unless told.')

export type StorageConfig = z.output<typeof storageConfigSchema>

export const DATABASE_FILE = 'sallyport.db'

/**
 * Where the store is. Paths that are not absolute begin at `directory`, that of the configuration file. Throws `invalid_argument` when the file
 * of a connection string cannot be read or holds none.
 */
export async function locateStore(config: StorageConfig | undefined, directory: string): Promise<StoreLocation | undefined> {
  if (config?.type === 'postgresql') return { type: 'postgresql', at: config.conn_string ?? (await readConnString(config, directory)) }
  return config?.path === undefined ? undefined : { type: 'sqlite', at: join(from(directory, config.path), DATABASE_FILE) }
}

async function readConnString({ conn_string_file = '' }: StorageConfig, directory: string): Promise<string> {
  const path = from(directory, conn_string_file)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('invalid_argument', `cannot read ${path}, which storage.conn_string_file names`, { cause })
  })
  const wrong = findFault(text)
  if (wrong !== undefined) throw new AppError('invalid_argument', `${path}: the connection string ${wrong}`)
  return text.trim()
}

function from(directory: string, path: string): string {
  return isAbsolute(path) ? path : resolve(directory, path)
}

function findFault(text: string): string | undefined {
  try {
    parseConnString(text)
    return undefined
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown.message.replace(/^conn_string /, '')
    throw thrown
  }
}
