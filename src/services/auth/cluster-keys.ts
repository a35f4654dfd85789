import { createHash, randomBytes } from 'node:crypto'
import { link, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { createAuthority } from '../../ca/authority.ts'
import type { Authority } from '../../ca/authority.ts'
import { generateKeyPair, parsePrivateKey, parsePublicKey, renderPrivateKey, renderPublicKey } from '../../ca/keys.ts'
import { createSealer } from '../../ca/sealed.ts'
import type { Sealer } from '../../ca/sealed.ts'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Executor } from '../../storage/database.ts'
import { findSecret, insertSecretIfAbsent } from '../../storage/secrets.ts'
import { defaultClusterName } from './config.ts'
import type { ClusterKeys } from './context.ts'
import { JwtKeys } from './jwt-keys.ts'

const KEY_FILE = 'secret.key'

/**
 * What seals the secrets in the store. Its key is the one secret outside of it: a backup of both or of neither is worth something, and all
 * processes on one store have the same. It is made with the cluster, never for one that is there. Throws `failed_precondition` when it is
 * missing, damaged, or readable by others.
 * @param file in place of `secret.key` in the data directory.
 */
export async function openSealer(db: Executor, dataDirectory: string, file: string | undefined): Promise<Sealer> {
  const path = file ?? join(dataDirectory, KEY_FILE)
  const text = (await readTextIfPresent(path)) ?? (await makeFirstKey(db, path))
  if ((await stat(path)).mode & 0o077) throw new AppError('failed_precondition', `${path} can be read by others: run chmod 600 on it`)
  const key = Buffer.from(text.trim(), 'base64url')
  if (key.length !== 32) throw new AppError('failed_precondition', `${path} is damaged: restore it from your backup`)
  return createSealer(key)
}

async function makeFirstKey(db: Executor, path: string): Promise<string> {
  if ((await findSecret(db, 'cluster')) === undefined) return await makeKeyFile(path)
  // Of several that begin at once another may have made both since we looked: the file before what it seals.
  const made = await readTextIfPresent(path)
  if (made !== undefined) return made
  throw new AppError(
    'failed_precondition',
    `${path} is missing, and the store is sealed with its key: copy the file from another replica, or restore it from your backup`,
  )
}

/** Of several that begin at once all get the key of the first: a link is made only where there is none. */
async function makeKeyFile(path: string): Promise<string> {
  const draft = `${path}.${randomBytes(8).toString('hex')}`
  await writeFileAtomic(draft, `${randomBytes(32).toString('base64url')}\n`)
  try {
    await link(draft, path)
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST')) throw thrown
  } finally {
    await rm(draft, { force: true })
  }
  return (await readTextIfPresent(path)) ?? ''
}

const clusterSchema = z.object({ id: z.string(), name: z.string() })

/** Id and name of the cluster, made at the first start. Throws `failed_precondition` when the config has another name since. */
export async function openCluster(db: Executor, sealer: Sealer, configured: string | undefined): Promise<z.infer<typeof clusterSchema>> {
  const make = async () => ({ id: crypto.randomUUID(), name: configured ?? defaultClusterName() })
  const cluster = await loadOrMake(db, sealer, 'cluster', clusterSchema, make)
  if (configured !== undefined && configured !== cluster.name)
    throw new AppError(
      'failed_precondition',
      `this data directory belongs to the cluster "${cluster.name}"; cluster_name cannot be changed to "${configured}"`,
    )
  return cluster
}

const authoritySchema = z.object({ certificate: z.string(), key: z.string() })
const signerSchema = z.object({ public: z.string(), key: z.string() })
const formSchema = z.object({ key: z.string() })

/** The cluster's keys, made at the first start; at rest they are sealed. */
export async function openClusterKeys(db: Executor, sealer: Sealer, clusterName: string, now: () => number): Promise<ClusterKeys> {
  const form = await loadOrMake(db, sealer, 'keys/form', formSchema, async () => ({ key: randomBytes(32).toString('base64url') }))
  return {
    user: await openAuthority(db, sealer, 'user', clusterName, now()),
    host: await openAuthority(db, sealer, 'host', clusterName, now()),
    db: await openAuthority(db, sealer, 'db', clusterName, now()),
    dbClient: await openAuthority(db, sealer, 'db_client', clusterName, now()),
    spiffe: await openAuthority(db, sealer, 'spiffe', clusterName, now()),
    svid: await openSigner(db, sealer, 'keys/svid'),
    oauth: await openSigner(db, sealer, 'keys/oauth'),
    assertion: await openSigner(db, sealer, 'keys/assertion'),
    jwt: await JwtKeys.open(db, sealer, now),
    formKey: Buffer.from(form.key, 'base64url'),
  }
}

async function openSigner(db: Executor, sealer: Sealer, name: string): Promise<ClusterKeys['assertion']> {
  const signer = await loadOrMake(db, sealer, name, signerSchema, async () => {
    const pair = await generateKeyPair()
    return { public: renderPublicKey(pair.publicKey), key: renderPrivateKey(pair.privateKey) }
  })
  const publicKey = parsePublicKey(signer.public)
  const kid = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url')
    .slice(0, 22)
  return { kid, publicKey, privateKey: parsePrivateKey(signer.key) }
}

async function openAuthority(db: Executor, sealer: Sealer, type: Authority['type'], clusterName: string, now: number): Promise<Authority> {
  const stored = await loadOrMake(db, sealer, `ca/${type}`, authoritySchema, async () => {
    const made = createAuthority(type, clusterName, now)
    return { certificate: made.certificatePem, key: renderPrivateKey(made.privateKey) }
  })
  return { type, certificatePem: stored.certificate, privateKey: parsePrivateKey(stored.key) }
}

async function loadOrMake<T>(db: Executor, sealer: Sealer, name: string, schema: z.ZodType<T>, make: () => Promise<T>): Promise<T> {
  const sealed =
    (await findSecret(db, name)) ?? (await insertSecretIfAbsent(db, name, sealer.seal(Buffer.from(JSON.stringify(await make())), name)))
  let text: string
  try {
    text = sealer.open(sealed, name).toString()
  } catch (cause) {
    throw new AppError(
      'failed_precondition',
      `${KEY_FILE} does not belong to this database: replicas need a copy of the file of the one that made the cluster; else restore that from your backup`,
      { cause },
    )
  }
  return schema.parse(JSON.parse(text))
}
