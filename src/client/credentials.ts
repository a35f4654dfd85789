import { createHash, X509Certificate } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseIdentityFile } from '../ca/identity-file.ts'
import type { IdentityFile } from '../ca/identity-file.ts'
import { readTextIfPresent } from '../lib/atomic-file.ts'
import { renderDuration } from '../lib/duration.ts'
import { AppError } from '../lib/errors.ts'
import { cacheDirectory } from '../lib/paths.ts'
import type { Environment } from '../lib/paths.ts'
import { createApiClient } from './call.ts'
import type { ApiClient, Carrier } from './call.ts'
import { AUTH_ALPN, createHttpsCarrier } from './https-carrier.ts'
import { createLocalCarrier } from './local-carrier.ts'
import { findLocalDataDirectory } from './local-data.ts'
import type { LocalOptions } from './local-data.ts'
import { findProfile, listProfiles, loadIdentity, tshHome } from './profile.ts'
import { createProxyHttp } from './proxy-http.ts'
import type { ProxyHttpOptions } from './proxy-http.ts'
import { parseProxyAddress, renderProxyAddress } from './proxy-address.ts'
import type { ProxyAddress } from './proxy-address.ts'

export interface CredentialOptions {
  /** An identity file: then nothing of the tsh home is read or written, and `proxy` is needed. */
  identity?: string | undefined
  /** `host:port` of the proxy; picks a profile when no identity file is given. */
  proxy?: string | undefined
  insecure?: boolean | undefined
  /** Given for the administrator's commands: they may use the Auth Service of this machine. */
  local?: LocalOptions | undefined
  env: Environment
  now: () => number
}

/** A way to the Auth Service with somebody's credentials. */
export interface Connection {
  how: 'identity_file' | 'local' | 'profile'
  api: ApiClient
  /** For MCP traffic; absent on the local socket, which reaches the Auth Service alone. */
  proxy?: ProxyAddress
  /** What to trust the proxy by, and the certificate to show it: route assertions are bound to that. */
  trust?: Pick<ProxyHttpOptions, 'authorities' | 'insecure' | 'credentials'>
  /** Milliseconds since 1970; absent for the local administrator. */
  expiresAt?: number
  close(): void
}

/**
 * Finds credentials: the identity file, else (for administrators, when neither identity nor proxy is named) a running Auth Service of this
 * machine, else the tsh profile. None or expired ones throw `unauthenticated` with the command that helps.
 */
export async function openConnection(options: CredentialOptions): Promise<Connection> {
  if (options.identity) return await fromIdentityFile(options.identity, options)
  if (options.local && !options.proxy) {
    const dataDirectory = await findLocalDataDirectory(options.local, options.env)
    if (dataDirectory) return fromCarrier(createLocalCarrier(dataDirectory))
  }
  return await fromProfile(options)
}

/**
 * Where answers of MCP servers are kept for the caller whose credentials `openConnection` would take; expired ones still name somebody.
 * Undefined when there are none. Contacts nobody.
 */
export async function findAnswerFolder(options: CredentialOptions): Promise<string | undefined> {
  const caller = options.identity ? await findIdentityName(options.identity, options.proxy) : await findProfileName(options)
  if (caller === undefined) return undefined
  return join(cacheDirectory(options.env, 'sallyport'), 'mcp', createHash('sha256').update(caller).digest('hex').slice(0, 32))
}

async function findIdentityName(path: string, proxy: string | undefined): Promise<string | undefined> {
  const text = await readTextIfPresent(await identityFileAt(path))
  return text === undefined ? undefined : JSON.stringify([proxy, new X509Certificate(parseIdentityFile(text).certificatePem).subject])
}

async function findProfileName({ env, proxy }: CredentialOptions): Promise<string | undefined> {
  const profile = await findProfile(tshHome(env), proxy && renderProxyAddress(parseProxyAddress(proxy)))
  return profile && JSON.stringify([profile.proxy, profile.cluster, profile.user])
}

/** A connection over a carrier that needs no credentials of its own: the local socket, or the process itself. */
export function fromCarrier(carrier: Carrier): Connection {
  return { how: 'local', api: createApiClient(carrier), close: () => {} }
}

async function fromIdentityFile(path: string, options: CredentialOptions): Promise<Connection> {
  if (!options.proxy)
    throw new AppError(
      'invalid_argument',
      '--identity needs --proxy (tctl: --auth-server): an identity file does not say where its cluster is',
    )
  const file = await identityFileAt(path)
  const text = await readTextIfPresent(file)
  if (text === undefined)
    throw new AppError(
      'unauthenticated',
      `there is no identity file at ${file}: check the path and, where tbot writes it, that tbot runs; or make one with tctl auth sign or tsh login --out`,
    )
  const identity = parseIdentityFile(text)
  const proxy = parseProxyAddress(options.proxy)
  const expiresAt = checkExpiry(
    identity,
    options.now(),
    (ago) => `the identity file ${file} expired ${ago} ago: get a new one with tctl auth sign or tsh login --out`,
  )
  return connect('identity_file', proxy, identity, expiresAt, options.insecure)
}

/** The file itself, or the one in a directory that a bot writes. */
async function identityFileAt(path: string): Promise<string> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ? join(path, 'identity') : path
}

async function fromProfile(options: CredentialOptions): Promise<Connection> {
  const home = tshHome(options.env)
  const wanted = options.proxy ? renderProxyAddress(parseProxyAddress(options.proxy)) : undefined
  const profile = await findProfile(home, wanted)
  if (!profile) {
    const here = options.local && !options.proxy ? ', or use tctl on the host of the Auth Service, with --data-dir=DIRECTORY' : ''
    throw new AppError('unauthenticated', `${await notLoggedIn(home, wanted)}${here}`)
  }
  const identity = await loadIdentity(home, profile)
  const expiresAt = checkExpiry(
    identity,
    options.now(),
    (ago) => `your session expired ${ago} ago: run tsh login --proxy=${profile.proxy} --user=${profile.user}`,
  )
  return connect('profile', parseProxyAddress(profile.proxy), identity, expiresAt, options.insecure || profile.insecure)
}

async function notLoggedIn(home: string, wanted: string | undefined): Promise<string> {
  const others = (await listProfiles(home)).map((profile) => profile.proxy)
  if (wanted && others.length > 0)
    return `Not logged in to ${wanted} (signed in to: ${others.join(', ')}).\nRun tsh login --proxy=${wanted}`
  return `Not logged in.\nRun tsh login --proxy=${wanted ?? 'HOST:PORT'}`
}

function checkExpiry(identity: IdentityFile, now: number, message: (ago: string) => string): number {
  const expiresAt = new X509Certificate(identity.certificatePem).validToDate.getTime()
  if (expiresAt <= now) throw new AppError('unauthenticated', message(renderDuration(now - expiresAt)), { details: { reason: 'expired' } })
  return expiresAt
}

function connect(how: Connection['how'], proxy: ProxyAddress, identity: IdentityFile, expiresAt: number, insecure = false): Connection {
  const credentials = { key: identity.privateKeyPem, certificate: identity.certificatePem }
  const trust = { authorities: identity.authorityPems, insecure, credentials }
  const http = createProxyHttp({ proxy, ...trust, alpn: AUTH_ALPN })
  return { how, api: createApiClient(createHttpsCarrier(http)), proxy, trust, expiresAt, close: http.close }
}
