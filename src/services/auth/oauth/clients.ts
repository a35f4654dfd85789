import type { AdapterPayload, ClientMetadata } from 'oidc-provider'
import { findOAuthRecord, upsertOAuthRecord } from '../../../storage/oauth.ts'
import { usesSecret } from '../../../resources/oauth-client.ts'
import type { AuthContext } from '../context.ts'
import { openSecret } from '../resource-secrets.ts'
import { hashOf, openRecord, sealContext } from './sealed-records.ts'

/** How much is known of who a client says it is. */
export type ClientOrigin = 'administrator' | 'document' | 'itself'

const CLIENT = 'Client'
/** A client that registered itself and that nobody allowed anything. */
const UNUSED_MS = 24 * 3_600_000

/** Where what is known of a client comes from; an `https` id is that of a client-id metadata document. */
export function originOfClient({ live }: Pick<AuthContext, 'live'>, clientId: string): ClientOrigin {
  if (live.find('oauth_client', clientId)) return 'administrator'
  return clientId.startsWith('https://') ? 'document' : 'itself'
}

/** What the library needs to know of a client that an administrator or the client itself registered. */
export async function findClientDocument(context: AuthContext, clientId: string): Promise<AdapterPayload | undefined> {
  const registered = context.live.find('oauth_client', clientId)
  if (registered) {
    const { redirect_uris, client_name = clientId, grant_types, jwks, jwks_uri, token_endpoint_auth_method } = registered.spec
    const secret = usesSecret(registered.spec) ? await openSecret(context, registered, 'client_secret') : undefined
    return {
      client_id: clientId,
      client_name,
      redirect_uris,
      grant_types,
      response_types: grant_types.includes('authorization_code') ? ['code'] : [],
      token_endpoint_auth_method,
      application_type: applicationTypeOf(redirect_uris),
      ...(jwks && { jwks: { keys: jwks.keys } }),
      ...(jwks_uri !== undefined && { jwks_uri }),
      ...(secret !== undefined && { client_secret: secret }),
    }
  }
  const record = await findOAuthRecord(context.db, CLIENT, hashOf(CLIENT, clientId))
  if (!record || (record.expires_at !== null && record.expires_at <= context.now())) return undefined
  return openRecord(context, record)
}

/** Remembers a client that registered itself, for a day unless somebody allows it something. */
export async function saveClient(context: AuthContext, metadata: ClientMetadata): Promise<void> {
  const now = context.now()
  const id = hashOf(CLIENT, metadata.client_id)
  await upsertOAuthRecord(context.db, {
    kind: CLIENT,
    id,
    lookup: null,
    grant_id: null,
    account: null,
    client_id: metadata.client_id,
    document: context.sealer.seal(Buffer.from(JSON.stringify(metadata)), sealContext(CLIENT, id)),
    created_at: now,
    expires_at: now + UNUSED_MS,
  })
}

/**
 * `native` (RFC 8252) unless every address is a page of a site: its loopback addresses are good with any port (section 7.3), and whoever asks
 * in its name is shown to the person each time (section 8.6).
 */
export function applicationTypeOf(redirectUris: readonly string[]): 'web' | 'native' {
  return redirectUris.length > 0 && redirectUris.every((uri) => uri.startsWith('https://')) ? 'web' : 'native'
}
