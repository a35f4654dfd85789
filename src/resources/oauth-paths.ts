/** Where the authorization server is served; RFC 8414 documents name these to clients. */
export const OAUTH_PATHS = {
  authorization: '/oauth/authorize',
  token: '/oauth/token',
  registration: '/oauth/register',
  revocation: '/oauth/revoke',
  introspection: '/oauth/introspect',
  jwks: '/oauth/jwks',
  deviceAuthorization: '/oauth/device/start',
  device: '/oauth/device',
} as const

/** RFC 9728, RFC 8414 and OpenID Connect Discovery 1.0; each also with the path of an MCP endpoint after it. */
export const WELL_KNOWN = {
  protectedResource: '/.well-known/oauth-protected-resource',
  authorizationServer: '/.well-known/oauth-authorization-server',
  openidConfiguration: '/.well-known/openid-configuration',
} as const

const FOR_PAGES: ReadonlySet<string> = new Set([
  OAUTH_PATHS.token,
  OAUTH_PATHS.registration,
  OAUTH_PATHS.revocation,
  OAUTH_PATHS.jwks,
  OAUTH_PATHS.deviceAuthorization,
])

/**
 * Whether pages of other sites may call a path: MCP clients that run in a browser have to find the authorization server and to get tokens from
 * it. None of these paths looks at cookies.
 */
export function isOpenToPages(path: string): boolean {
  return FOR_PAGES.has(path) || isMetadataPath(path)
}

/** Whether a path is that of a document about this authorization server or one of its resources. */
export function isMetadataPath(path: string): boolean {
  return Object.values(WELL_KNOWN).some((known) => path === known || path.startsWith(`${known}/`)) || isAppended(path)
}

/** OpenID Connect Discovery 1.0, section 4: the well-known part comes after the path of the issuer. */
function isAppended(path: string): boolean {
  return path.startsWith('/mcp') && path.endsWith(WELL_KNOWN.openidConfiguration)
}
