import { createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { possessionChallenge } from '../api/possession.ts'
import type { InputOf, OutputOf } from '../api/route.ts'
import { issueSvid } from '../api/workload-identity.ts'
import { generateKeyPair, renderPrivateKey, renderPublicKey, signPossession } from '../ca/keys.ts'
import type { ApiClient } from './call.ts'

export const SVID_KEY_FILE = 'svid_key.pem'
export const JWT_SVID_FILE = 'jwt_svid'

/** Which workload identity: by name, or the one with these labels that the caller may have. */
export type SvidSelector = InputOf<typeof issueSvid>['selector']

export type Svid = OutputOf<typeof issueSvid>

export interface SvidWanted {
  selector: SvidSelector
  /** Some of the bot's roles; without, all of them. */
  roles?: readonly string[] | undefined
  ttlSeconds?: number | undefined
}

/** A certificate with a SPIFFE ID for this key. */
export async function fetchX509Svid(api: ApiClient, { selector, roles, ttlSeconds }: SvidWanted, privateKey: KeyObject): Promise<Svid> {
  const publicKey = renderPublicKey(createPublicKey(privateKey))
  const possession = signPossession(privateKey, possessionChallenge('svid', '', publicKey))
  const credential = { type: 'x509' as const, public_key: publicKey, possession }
  return await api(issueSvid, { selector, credential, roles: roles && [...roles], ttl: ttlSeconds })
}

/** The files of an X.509 SVID by their names; the certificate comes last, so that who waits for it finds the rest there already. */
export function renderX509Files({ svid, bundle }: Svid, privateKey: KeyObject): Map<string, string> {
  return new Map([
    ['svid_bundle.pem', bundle.map((pem) => `${pem.trim()}\n`).join('')],
    [SVID_KEY_FILE, renderPrivateKey(privateKey)],
    ['svid.pem', svid],
  ])
}

/** The same with a fresh key, and what it is. */
export async function fetchX509Files(api: ApiClient, wanted: SvidWanted): Promise<{ svid: Svid; files: Map<string, string> }> {
  const { privateKey } = await generateKeyPair()
  const svid = await fetchX509Svid(api, wanted, privateKey)
  return { svid, files: renderX509Files(svid, privateKey) }
}

/** A JWT with a SPIFFE ID, for these audiences. */
export async function fetchJwtSvid(
  api: ApiClient,
  { selector, roles, ttlSeconds }: SvidWanted,
  audiences: readonly string[],
): Promise<Svid> {
  const credential = { type: 'jwt' as const, audiences: [...audiences] }
  return await api(issueSvid, { selector, credential, roles: roles && [...roles], ttl: ttlSeconds })
}
