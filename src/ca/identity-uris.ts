import { AppError } from '../lib/errors.ts'
import type { IdentityKind } from '../resources/identity.ts'

export type AuthorityType = 'user' | 'host' | 'db' | 'db_client' | 'spiffe'

/** What a client certificate says about its holder. Traits are not among it: the Auth Service looks them up. */
export interface IdentityFields {
  kind: IdentityKind
  name: string
  /** For hosts these are the system roles; for users and bots they inform tools that are offline. */
  roles: string[]
  mfaVerified: boolean
  /** Of the user as it was then: a user who was reset or made anew has another one. For a host, of the join it is from. Absent for bots. */
  account?: string
  /** false: the Auth Service issues no further credentials for this one. */
  allowReissue?: boolean
  botInstanceId?: string
  /** The join token's name. Never one that is itself a secret: certificates are public. */
  joinToken?: string
  joinMethod?: string
  /** How often a bot's own certificate was renewed, from 1. */
  generation?: number
  /** true: a bot's own certificate, which opens nothing. */
  internal?: boolean
}

const MAX_TEXT = 255
const MAX_ROLES = 512
const SINGLE_KEYS = ['mfa', 'account', 'allow_reissue', 'bot_instance_id', 'join_token', 'join_method', 'generation', 'internal'] as const

/** The SAN URIs of an identity, in one fixed order. Empty, overlong or broken text throws `invalid_argument`. */
export function renderIdentityUris(clusterName: string, fields: IdentityFields): string[] {
  const roles = [...new Set(fields.roles)]
  if (roles.length > MAX_ROLES) throw new AppError('invalid_argument', `a certificate carries at most ${MAX_ROLES} roles`)
  const uris = [
    `spiffe://${encode(clusterName)}/${fields.kind}/${encode(fields.name)}`,
    ...roles.map((role) => `sallyport:role/${encode(role)}`),
  ]
  if (fields.mfaVerified) uris.push('sallyport:mfa/true')
  if (fields.account !== undefined) uris.push(`sallyport:account/${encode(fields.account)}`)
  if (fields.allowReissue !== undefined) uris.push(`sallyport:allow_reissue/${fields.allowReissue}`)
  if (fields.botInstanceId !== undefined) uris.push(`sallyport:bot_instance_id/${encode(fields.botInstanceId)}`)
  if (fields.joinToken !== undefined) uris.push(`sallyport:join_token/${encode(fields.joinToken)}`)
  if (fields.joinMethod !== undefined) uris.push(`sallyport:join_method/${encode(fields.joinMethod)}`)
  if (fields.generation !== undefined) uris.push(`sallyport:generation/${fields.generation}`)
  if (fields.internal !== undefined) uris.push(`sallyport:internal/${fields.internal}`)
  return uris
}

/** The SAN URIs of a CA certificate. */
export function renderAuthorityUris(type: AuthorityType, clusterName: string): string[] {
  // What verifies X509-SVIDs may refuse a certificate with a second URI (X509-SVID, section 2).
  if (type === 'spiffe') return [`spiffe://${clusterName.toLowerCase()}`]
  return [`spiffe://${encode(clusterName)}`, `sallyport:authority/${type}`]
}

/**
 * Reads back what `renderIdentityUris` wrote for this cluster; undefined for everything else: another cluster, duplicates,
 * unknown keys, another order or another spelling of the same name.
 */
export function findIdentityFields(clusterName: string, uris: string[]): IdentityFields | undefined {
  const fields = readFields(uris)
  if (!fields) return undefined
  const expected = renderIdentityUris(clusterName, fields)
  return expected.length === uris.length && expected.every((uri, index) => uri === uris[index]) ? fields : undefined
}

/**
 * The URIs of Node's `subjectAltName` text, or undefined when it holds anything but plain URIs. Node quotes a name with
 * characters that could fake a separator (CVE-2021-44532); ours never have such characters, so a quote means a foreign certificate.
 */
export function findUris(subjectAltName: string | undefined): string[] | undefined {
  const entries = subjectAltName?.split(', ') ?? []
  return entries.length > 0 && entries.every((entry) => /^URI:[\x21\x23-\x2b\x2d-\x7e]+$/.test(entry))
    ? entries.map((entry) => entry.slice(4))
    : undefined
}

/** Every URI is read leniently here; the comparison with a fresh rendering is what makes it strict. */
function readFields([spiffe, ...others]: string[]): IdentityFields | undefined {
  const [, kind, name] = spiffe?.match(/^spiffe:\/\/[^/]+\/(user|bot|host)\/([^/]+)$/) ?? []
  if (!isIdentityKind(kind)) return undefined
  const roles: string[] = []
  const single = new Map<string, string>()
  for (const uri of others) {
    const [, key = '', encoded = ''] = uri.match(/^sallyport:([a-z_]+)\/([^/]+)$/) ?? []
    const value = decode(encoded)
    if (value === undefined) return undefined
    if (key === 'role') roles.push(value)
    else if (SINGLE_KEYS.some((known) => known === key)) single.set(key, value)
    else return undefined
  }
  const decodedName = decode(name ?? '')
  if (decodedName === undefined || roles.length > MAX_ROLES) return undefined
  const account = single.get('account')
  const allowReissue = single.get('allow_reissue')
  const botInstanceId = single.get('bot_instance_id')
  const joinToken = single.get('join_token')
  const joinMethod = single.get('join_method')
  const generation = /^\d{1,15}$/.exec(single.get('generation') ?? '')?.[0]
  const internal = single.get('internal')
  return {
    kind,
    name: decodedName,
    roles,
    mfaVerified: single.get('mfa') === 'true',
    ...(account !== undefined && { account }),
    ...(allowReissue !== undefined && { allowReissue: allowReissue === 'true' }),
    ...(botInstanceId !== undefined && { botInstanceId }),
    ...(joinToken !== undefined && { joinToken }),
    ...(joinMethod !== undefined && { joinMethod }),
    ...(generation !== undefined && { generation: Number(generation) }),
    ...(internal !== undefined && { internal: internal === 'true' }),
  }
}

function isIdentityKind(text: string | undefined): text is IdentityKind {
  return text === 'user' || text === 'bot' || text === 'host'
}

/** Percent-encodes all but RFC 3986 unreserved characters, so that each name has exactly one spelling. */
function encode(text: string): string {
  if (!isAcceptable(text)) throw new AppError('invalid_argument', `${JSON.stringify(text.slice(0, 80))} cannot stand in a certificate`)
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function decode(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text)
    return isAcceptable(decoded) ? decoded : undefined
  } catch (cause) {
    if (cause instanceof URIError) return undefined
    throw cause
  }
}

function isAcceptable(text: string): boolean {
  return text.length > 0 && text.length <= MAX_TEXT && text !== '.' && text !== '..' && text.isWellFormed() && !/\p{Cc}/u.test(text)
}
