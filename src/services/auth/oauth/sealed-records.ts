import { createHash } from 'node:crypto'
import type { AdapterPayload } from 'oidc-provider'
import type { OAuthRecord } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'

/** The document of a record, with the moment it was used up as the library wants it. */
export function openRecord({ sealer }: Pick<AuthContext, 'sealer'>, { kind, id, document, consumed_at }: OAuthRecord): AdapterPayload {
  const payload = JSON.parse(sealer.open(document, sealContext(kind, id)).toString()) as AdapterPayload // sealed by `upsert`
  return consumed_at === null ? payload : { ...payload, consumed: Math.floor(consumed_at / 1000) }
}

/** What a token or another id is stored as; what stands in the store cannot be used by who reads the store. */
export function hashOf(kind: string, id: string): string {
  return createHash('sha256').update(`${kind}\0${id}`).digest('hex')
}

export function sealContext(kind: string, key: string): string {
  return `oauth/${kind}/${key}`
}
