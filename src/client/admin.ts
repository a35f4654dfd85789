import { createApiToken, deleteApiToken, listApiTokens } from '../api/api-tokens.ts'
import { getStatus } from '../api/cluster.ts'
import { signDatabaseServer } from '../api/databases.ts'
import { signCertificate, whoami } from '../api/identity.ts'
import { rotateJwtKey } from '../api/identity-tokens.ts'
import { deleteOAuthGrant, listOAuthGrants } from '../api/oauth-grants.ts'
import type { OAuthGrant } from '../api/oauth-grants.ts'
import { possessionChallenge } from '../api/possession.ts'
import { createResource, deleteResource, getResource, listResources, upsertResource } from '../api/resources.ts'
import type { InputOf, OutputOf } from '../api/route.ts'
import { explainAccess } from '../api/servers.ts'
import { getSsoTest, startSsoTest } from '../api/sso.ts'
import type { SsoTest } from '../api/sso.ts'
import { inviteUser, resetUser } from '../api/users.ts'
import { renderIdentityFile } from '../ca/identity-file.ts'
import { generateKeyPair, renderPrivateKey, renderPublicKey, signPossession } from '../ca/keys.ts'
import type { Kind } from '../resources/registry.ts'
import type { ApiClient } from './call.ts'

/** A resource as the Auth Service returns it; the registry's schema of its kind gives it its full type. */
export type StoredResource = OutputOf<typeof getResource>
export type ClusterStatus = OutputOf<typeof getStatus>
export type Caller = OutputOf<typeof whoami>
export type Saved = OutputOf<typeof upsertResource>
export type Invite = OutputOf<typeof inviteUser>
export type ApiTokenItem = OutputOf<typeof listApiTokens>['items'][number]
export type Explanation = OutputOf<typeof explainAccess>

export const fetchStatus = (api: ApiClient): Promise<ClusterStatus> => api(getStatus, {})

export const rotateKey = (api: ApiClient): Promise<OutputOf<typeof rotateJwtKey>> => api(rotateJwtKey, {})

export const fetchCaller = (api: ApiClient): Promise<Caller> => api(whoami, {})

/** All resources of a kind that the caller may read. */
export async function fetchResources(api: ApiClient, kind: Kind, { withSecrets = false } = {}): Promise<StoredResource[]> {
  return (await api(listResources, { kind, ...(withSecrets ? { with_secrets: 'true' } : {}) })).items
}

/** `not_found` when there is none of that name. */
export async function fetchResource(api: ApiClient, kind: Kind, name: string, { withSecrets = false } = {}): Promise<StoredResource> {
  return await api(getResource, { kind, name, ...(withSecrets ? { with_secrets: 'true' } : {}) })
}

/** `already_exists` when the name is taken. */
export const addResource = (api: ApiClient, resource: StoredResource): Promise<Saved> =>
  api(createResource, { kind: resource.kind, resource })

/** Creates or replaces; with `metadata.revision`, replaces that revision only (`aborted` otherwise). */
export const putResource = (api: ApiClient, resource: StoredResource): Promise<Saved> =>
  api(upsertResource, { kind: resource.kind, name: resource.metadata.name, resource })

export async function removeResource(api: ApiClient, kind: Kind, name: string): Promise<void> {
  await api(deleteResource, { kind, name })
}

export const invite = (api: ApiClient, input: InputOf<typeof inviteUser>): Promise<Invite> => api(inviteUser, input)

export const resetCredentials = (api: ApiClient, input: InputOf<typeof resetUser>): Promise<Invite> => api(resetUser, input)

/** The secret of the new token is in this answer and nowhere else. */
export const addApiToken = (api: ApiClient, input: InputOf<typeof createApiToken>): Promise<OutputOf<typeof createApiToken>> =>
  api(createApiToken, input)

/** The caller's own tokens, another user's, or all (`*`). */
export async function fetchApiTokens(api: ApiClient, user?: string): Promise<ApiTokenItem[]> {
  return (await api(listApiTokens, { user })).items
}

export async function removeApiToken(api: ApiClient, id: string): Promise<void> {
  await api(deleteApiToken, { id })
}

/** What the caller allowed MCP clients, another user, or all (`*`). */
export async function fetchOAuthGrants(api: ApiClient, user?: string): Promise<OAuthGrant[]> {
  return (await api(listOAuthGrants, { user })).items
}

export async function removeOAuthGrant(api: ApiClient, id: string): Promise<void> {
  await api(deleteOAuthGrant, { id })
}

export const explain = (api: ApiClient, input: InputOf<typeof explainAccess>): Promise<Explanation> => api(explainAccess, input)

/** Has a certificate issued for a database server whose key was made here; PEM texts, and the moment it ends. */
export async function signDatabaseFiles(
  api: ApiClient,
  { hosts, ttlSeconds }: { hosts: string[]; ttlSeconds: number },
): Promise<{ key: string; certificate: string; clientAuthorities: string; expires: string }> {
  const keys = await generateKeyPair()
  const signed = await api(signDatabaseServer, { hosts, public_key: renderPublicKey(keys.publicKey), ttl: ttlSeconds })
  return {
    key: renderPrivateKey(keys.privateKey),
    certificate: signed.certificate + signed.server_authorities.join(''),
    clientAuthorities: signed.client_authorities.join(''),
    expires: signed.expires,
  }
}

/** Has an identity issued for a user; the text of an identity file whose key was made here, and the moment it ends. */
export async function signIdentity(
  api: ApiClient,
  { user, ttlSeconds }: { user: string; ttlSeconds?: number | undefined },
): Promise<{ text: string; expires: string }> {
  const keys = await generateKeyPair()
  const publicKey = renderPublicKey(keys.publicKey)
  const possession = signPossession(keys.privateKey, possessionChallenge('sign', user, publicKey))
  const issued = await api(signCertificate, { user, public_key: publicKey, possession, ttl: ttlSeconds })
  const text = renderIdentityFile({
    privateKeyPem: renderPrivateKey(keys.privateKey),
    certificatePem: issued.certificate,
    authorityPems: issued.host_authorities,
  })
  return { text, expires: issued.expires }
}

/** Begins to try a connector out, which is not saved: a page to open, and the id to ask with what came of it. */
export const beginSsoTest = (api: ApiClient, kind: 'oidc' | 'github', resource: StoredResource): Promise<OutputOf<typeof startSsoTest>> =>
  api(startSsoTest, { kind, resource })

/** What came of it so far. */
export const fetchSsoTest = (api: ApiClient, id: string): Promise<SsoTest> => api(getSsoTest, { id })
