import { lstat } from 'node:fs/promises'
import { signDatabaseFiles, signIdentity } from '../../client/admin.ts'
import { writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Context } from './context.ts'
import { parseSeconds } from './pairs.ts'

const USER_SECONDS = 12 * 3600
/** Three months. */
const DATABASE_SECONDS = 2190 * 3600

export async function run(context: Context): Promise<void> {
  return context.call.text('format') === 'db' ? await signDatabase(context) : await signUser(context)
}

async function signUser({ call, io, withApi }: Context): Promise<void> {
  const user = call.text('user')
  if (!user) throw new AppError('invalid_argument', 'whose identity? name the user with --user')
  const out = call.text('out') ?? ''
  await checkAbsent([out], call.flag('overwrite'))
  const ttlSeconds = parseSeconds(call.text('ttl')) ?? USER_SECONDS
  const { text, expires } = await withApi((api) => signIdentity(api, { user, ttlSeconds }))
  await writeFileAtomic(out, text, { mode: 0o600 })
  io.stdout.write(`The credentials have been written to ${out}; they expire ${expires}\n`)
}

async function signDatabase({ call, io, withApi }: Context): Promise<void> {
  const hosts = call.list('host')
  if (hosts.length === 0) throw new AppError('invalid_argument', 'name the database server with --host, as agents reach it')
  const out = call.text('out') ?? ''
  const [keyFile, certificateFile, authoritiesFile] = [`${out}.key`, `${out}.crt`, `${out}.cas`] as const
  await checkAbsent([keyFile, certificateFile, authoritiesFile], call.flag('overwrite'))
  const ttlSeconds = parseSeconds(call.text('ttl')) ?? DATABASE_SECONDS
  const signed = await withApi((api) => signDatabaseFiles(api, { hosts, ttlSeconds }))
  await writeFileAtomic(keyFile, signed.key, { mode: 0o600 })
  await writeFileAtomic(certificateFile, signed.certificate, { mode: 0o644 })
  await writeFileAtomic(authoritiesFile, signed.clientAuthorities, { mode: 0o644 })
  io.stdout.write(
    [
      `Database credentials have been written to ${keyFile}, ${certificateFile} and ${authoritiesFile}; they expire ${signed.expires}`,
      '',
      'To let a PostgreSQL server accept the agents of this cluster, put into its postgresql.conf:',
      '',
      'ssl = on',
      `ssl_cert_file = '/path/to/${certificateFile}'`,
      `ssl_key_file = '/path/to/${keyFile}'`,
      `ssl_ca_file = '/path/to/${authoritiesFile}'`,
      '',
      'and into its pg_hba.conf:',
      '',
      'hostssl all all ::/0 cert',
      'hostssl all all 0.0.0.0/0 cert',
      '',
    ].join('\n'),
  )
}

async function checkAbsent(paths: readonly string[], mayOverwrite: boolean): Promise<void> {
  for (const path of mayOverwrite ? [] : paths) {
    if (await lstat(path).catch(() => undefined))
      throw new AppError('already_exists', `${path} is there already: use --overwrite to replace it`)
  }
}
