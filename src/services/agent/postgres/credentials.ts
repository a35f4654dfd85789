import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { DatabaseSession } from '../../../access/check-database.ts'
import { generateKeyPair, renderPrivateKey, renderPublicKey } from '../../../ca/keys.ts'
import { fetchStatus } from '../../../client/admin.ts'
import { fetchDatabaseCertificate } from '../../../client/agent.ts'
import type { ApiClient } from '../../../client/call.ts'
import { AppError } from '../../../lib/errors.ts'
import { type Database, databaseAddress } from '../../../resources/db.ts'
import type { ConnectOptions, DatabaseTls } from './connect.ts'

const MAX_PASSWORD_CHARS = 1024

export interface CredentialOptions {
  api: ApiClient
  /** Where password files are; undefined: there are none. */
  secretsDirectory: string | undefined
}

/**
 * How to reach a database as one of its users, for one connection: a certificate that the Auth Service gives only for the assertion of
 * whoever asks, or a password of the agent's own.
 * @throws AppError permission_denied when the Auth Service refuses, failed_precondition when there is no password that may be used.
 */
export async function findCredentials(
  { api, secretsDirectory }: CredentialOptions,
  { metadata, spec }: Database,
  { user, name }: DatabaseSession,
  assertion: string,
): Promise<Pick<ConnectOptions, 'host' | 'port' | 'tls' | 'password'>> {
  const target = databaseAddress(spec.uri)
  const tls = await trustOf(api, spec, target.host)
  if (spec.auth.method === 'password') return { ...target, tls, password: await readPassword(secretsDirectory, spec, user) }
  const pair = await generateKeyPair()
  const publicKeyPem = renderPublicKey(pair.publicKey)
  const certificate = await fetchDatabaseCertificate(api, { assertion, database: metadata.name, user, name, publicKeyPem })
  return { ...target, tls: { ...tls, key: renderPrivateKey(pair.privateKey), cert: certificate }, password: undefined }
}

/** What a server has to show before anything is said to it; undefined: nothing, on loopback without TLS. */
async function trustOf(api: ApiClient, { tls }: Database['spec'], host: string): Promise<DatabaseTls | undefined> {
  if (tls.mode === 'disable') return undefined
  const named = tls.server_name ?? host
  // An IP address is no name to send (RFC 6066, section 3), but the certificate has to be for it all the same.
  const servername = { host: named, ...(isIP(named) === 0 && { servername: named }) }
  if (tls.mode === 'insecure') return { ...servername, rejectUnauthorized: false }
  const ca = tls.ca_cert ?? (await fetchStatus(api)).authorities.filter(({ type }) => type === 'db').map(({ certificate }) => certificate)
  const anyName = tls.mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}
  return { ...servername, ca, rejectUnauthorized: true, ...anyName }
}

async function readPassword(directory: string | undefined, { auth }: Database['spec'], user: string): Promise<string> {
  const files = auth.password_files ?? {}
  const file = Object.hasOwn(files, user) ? files[user] : undefined
  if (file === undefined)
    throw new AppError('failed_precondition', `there is no password of "${user}": name its file in auth.password_files of the database`)
  if (directory === undefined)
    throw new AppError('failed_precondition', 'this agent holds no passwords: set db_service.secrets_directory in its configuration')
  const path = join(directory, file)
  let text: string
  try {
    if ((await stat(path)).mode & 0o007)
      throw new AppError('failed_precondition', `the password file "${file}" can be read by everybody: run chmod 600 on it`)
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('failed_precondition', `the agent cannot read the password file "${file}"`, { cause })
  }
  const password = text.replace(/\r?\n$/, '')
  if (password === '' || password.length > MAX_PASSWORD_CHARS)
    throw new AppError('failed_precondition', `the password file "${file}" holds no password`)
  return password
}
