import { findMcpEndpoint } from '../../../resources/mcp-endpoint.ts'
import { JWT_BEARER_GRANT } from '../../../resources/oauth-client.ts'
import { OAUTH_PATHS, WELL_KNOWN } from '../../../resources/oauth-paths.ts'
import { ALL_SCOPE } from './scopes.ts'

/** Enterprise-managed authorization of MCP (SEP-990). */
const ID_JAG_PROFILE = 'urn:ietf:params:oauth:grant-profile:id-jag'
/** `none` first: some clients take the first that they know. */
const AUTH_METHODS = ['none', 'private_key_jwt', 'client_secret_basic', 'client_secret_post']

export interface MetadataOptions {
  issuer: string
  /** Of the request, as it was checked: `https://HOST[:PORT]`. */
  origin: string
  grantTypes: readonly string[]
  /** Whether an identity provider may vouch for people here (ID-JAG). */
  takesIdJag: boolean
}

/**
 * The document that a well-known path stands for; undefined for a path that is about nothing here. Every well-formed name of a server has one:
 * whether there is such a server is nobody's business without a token.
 */
export function findMetadata(path: string, options: MetadataOptions): object | undefined {
  const { protectedResource, authorizationServer, openidConfiguration } = WELL_KNOWN
  if (path === protectedResource) return resourceMetadata('/mcp', options)
  const resource = pathAfter(path, protectedResource)
  if (resource !== undefined) return findMcpEndpoint(resource) && resourceMetadata(resource, options)
  if (path === authorizationServer || path === openidConfiguration) return serverMetadata(options)
  // Clients that take the URL of an MCP server for that of its authorization server put or append its path.
  const about =
    pathAfter(path, authorizationServer) ??
    pathAfter(path, openidConfiguration) ??
    (path.endsWith(openidConfiguration) ? path.slice(0, -openidConfiguration.length) : undefined)
  return about !== undefined && findMcpEndpoint(about) ? serverMetadata(options) : undefined
}

function pathAfter(path: string, known: string): string | undefined {
  return path.startsWith(`${known}/`) ? path.slice(known.length) : undefined
}

/** RFC 9728 section 2; `resource` is what the path was made of (section 3.3). */
function resourceMetadata(path: string, { issuer, origin }: MetadataOptions): object {
  return {
    resource: `${origin}${path}`,
    authorization_servers: [issuer],
    scopes_supported: [ALL_SCOPE],
    bearer_methods_supported: ['header'],
    resource_name: 'Sallyport',
  }
}

/** RFC 8414 section 2, with what OpenID Connect Discovery 1.0 section 3 requires beside it. */
function serverMetadata({ issuer, grantTypes, takesIdJag }: MetadataOptions): object {
  const at = (path: string) => `${issuer}${path}`
  return {
    issuer,
    authorization_endpoint: at(OAUTH_PATHS.authorization),
    token_endpoint: at(OAUTH_PATHS.token),
    registration_endpoint: at(OAUTH_PATHS.registration),
    revocation_endpoint: at(OAUTH_PATHS.revocation),
    introspection_endpoint: at(OAUTH_PATHS.introspection),
    device_authorization_endpoint: at(OAUTH_PATHS.deviceAuthorization),
    jwks_uri: at(OAUTH_PATHS.jwks),
    scopes_supported: [ALL_SCOPE, 'openid', 'offline_access'],
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: takesIdJag ? [...grantTypes, JWT_BEARER_GRANT] : grantTypes,
    ...(takesIdJag && { authorization_grant_profiles_supported: [ID_JAG_PROFILE] }),
    token_endpoint_auth_methods_supported: AUTH_METHODS,
    token_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
    introspection_endpoint_auth_methods_supported: ['private_key_jwt'],
    introspection_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
    revocation_endpoint_auth_methods_supported: AUTH_METHODS,
    revocation_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
    code_challenge_methods_supported: ['S256'],
    dpop_signing_alg_values_supported: ['ES256', 'EdDSA'],
    authorization_response_iss_parameter_supported: true,
    client_id_metadata_document_supported: true,
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
    claims_supported: ['sub'],
  }
}
