import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { ensurePrivateDirectory } from '../../lib/atomic-file.ts'
import type { Invocation } from '../../lib/command-rows.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { checkAgainst } from '../../lib/schema.ts'
import { acquireInstanceLock } from '../../lib/single-instance.ts'
import { parseYamlDocuments } from '../../lib/yaml.ts'
import { locateStore, type StorageConfig, storageConfigSchema } from '../../services/auth/storage-config.ts'
import { type Cloned, cloneStore } from '../../storage/clone.ts'
import type { Database } from '../../storage/database.ts'
import { parseConnString, renderAddress } from '../../storage/postgres-address.ts'
import { countOthers, openStore, type StoreLocation } from '../../storage/store.ts'

const cloneSchema = z
  .strictObject({
    src: storageConfigSchema,
    dst: storageConfigSchema,
    parallel: z.int().min(1).optional(),
    force: z.literal(false, { error: 'a destination that is not empty is never written over: leave it out' }).optional(),
  })
  .superRefine((sections, context) => {
    for (const key of ['src', 'dst'] as const)
      if (sections[key].type === 'sqlite' && sections[key].path === undefined)
        context.addIssue({ code: 'custom', path: [key, 'path'], message: 'required: the directory of sallyport.db' })
  })

/** `sallyport backend clone`: copies a store to another place, or from SQLite to PostgreSQL and back, while no process uses it. */
export async function run(invocation: Invocation): Promise<number> {
  const file = invocation.text('config')
  if (file === undefined) throw new AppError('invalid_argument', 'name the file that says what is copied where: --config clone.yaml')
  const { src, dst } = await loadClone(file)
  if (src.type === dst.type && src.at === dst.at) throw new AppError('invalid_argument', 'src and dst are the same store')
  const closers: (() => Promise<void>)[] = []
  try {
    const from = await openSource(src, closers)
    const to = await openDestination(dst, closers)
    const cloned = await cloneStore(from, to, invocation.signal)
    invocation.io.stdout.write(`${renderCloned(cloned, src, dst)}\n`)
    return cloned.broken ? 1 : 0
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

async function loadClone(file: string): Promise<{ src: StoreLocation; dst: StoreLocation }> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('invalid_argument', `cannot read ${file}`, { cause })
  })
  const [document, ...more] = parseYamlDocuments(text, file)
  if (!document || more.length > 0)
    throw new AppError('invalid_argument', `${file}: one YAML document with the sections src and dst is needed`)
  const { src, dst } = checkAgainst(cloneSchema, document, file)
  return { src: await locate(src, file), dst: await locate(dst, file) }
}

async function locate(config: StorageConfig, file: string): Promise<StoreLocation> {
  const found = await locateStore(config, dirname(resolve(file)))
  if (!found) throw new AppError('internal', 'a section without a place')
  return found
}

async function openSource(store: StoreLocation, closers: (() => Promise<void>)[]): Promise<Database> {
  if (store.type === 'sqlite') {
    const isThere = await stat(store.at).then(
      (found) => found.isFile(),
      () => false,
    )
    if (!isThere) throw new AppError('not_found', `src: there is no ${store.at}`)
  }
  return await open('src', store, closers)
}

async function openDestination(store: StoreLocation, closers: (() => Promise<void>)[]): Promise<Database> {
  if (store.type === 'sqlite') await ensurePrivateDirectory(dirname(store.at))
  return await open('dst', store, closers)
}

/** Nobody else uses it, nor begins to where that can be held off. */
async function open(section: string, store: StoreLocation, closers: (() => Promise<void>)[]): Promise<Database> {
  if (store.type === 'sqlite') {
    const lock = await acquireInstanceLock(dirname(store.at), { pid: process.pid, now: Date.now })
    closers.push(() => lock.release())
  }
  const others = await countOthers(store)
  if (others > 0)
    throw new AppError(
      'failed_precondition',
      `${section}: the ${renderStore(store)} is in use: Sallyport has ${others} connections to it: stop every process of the cluster first`,
    )
  const db = await openStore(store, silentLogger)
  closers.push(() => db.close())
  return db
}

function renderStore({ type, at }: StoreLocation): string {
  return type === 'sqlite' ? `file ${at}` : renderAddress(parseConnString(at))
}

function renderCloned({ rows, broken }: Cloned, src: StoreLocation, dst: StoreLocation): string {
  const width = Math.max(...rows.map(({ table }) => table.length))
  const events = rows.find(({ table }) => table === 'events')?.count ?? 0
  const log = broken
    ? `The audit log was broken before it was copied, at seq ${broken.seq ?? '?'}: ${broken.reason}. The copy is as the source.`
    : `The audit log is one unbroken chain of ${events} events.`
  return [
    `Copied the ${renderStore(src)} to the ${renderStore(dst)}:`,
    ...rows.map(({ table, count }) => `  ${table.padEnd(width)}  ${count}`),
    log,
    'Next: let teleport.storage of sallyport.yaml name the new place, keep data_dir with its secret.key, start, and do not start the old store again.',
  ].join('\n')
}
