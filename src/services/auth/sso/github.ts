import { z } from 'zod'
import { rolesOfTeams } from '../../../access/connector-roles.ts'
import type { Team } from '../../../access/connector-roles.ts'
import { AppError } from '../../../lib/errors.ts'
import type { GithubConnector } from '../../../resources/github.ts'
import type { ConnectorClient, Returned, SsoRequest } from './connector-client.ts'
import type { Identified } from './identified.ts'
import { fetchFromProvider, PROVIDER_TIMEOUT_MS } from './provider-fetch.ts'
import { translated } from './provider-fault.ts'

const PER_PAGE = 100
const MAX_PAGES = 20

/** GitHub at work: OAuth with PKCE, as GitHub has it, and its REST API for who somebody is and in which teams. */
export async function openGithub(connector: GithubConnector, secret: string): Promise<ConnectorClient> {
  const { spec } = connector
  const client = await import('openid-client')
  const login = `${spec.endpoint_url.replace(/\/+$/, '')}/login/oauth`
  const config = new client.Configuration(
    { issuer: login, authorization_endpoint: `${login}/authorize`, token_endpoint: `${login}/access_token` },
    spec.client_id,
    {},
    client.ClientSecretPost(secret),
  )
  client.allowInsecureRequests(config)
  config.timeout = PROVIDER_TIMEOUT_MS / 1000
  config[client.customFetch] = async (url, { body, headers, method }) =>
    await fetchFromProvider(url, { method, headers, ...(body instanceof URLSearchParams && { body }) })
  return {
    authorizeUrl: async ({ redirectUri, state, verifier }: SsoRequest) =>
      client.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope: 'read:org',
        state,
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
      }),
    identify: async ({ url, state, verifier }: Returned) => {
      const { access_token } = await translated(() =>
        client.authorizationCodeGrant(config, url, { expectedState: state, pkceCodeVerifier: verifier }),
      )
      return await identify(connector, access_token)
    },
  }
}

const userSchema = z.object({ id: z.int(), login: z.string().min(1).max(255) })
const teamsSchema = z.array(z.object({ slug: z.string(), organization: z.object({ login: z.string() }) }))

async function identify({ spec }: GithubConnector, token: string): Promise<Identified> {
  const api = apiOf(spec)
  const user = parse(userSchema, await ask(new URL(`${api}/user`), token))
  const held = await listTeams(new URL(`${api}/user/teams?per_page=${PER_PAGE}`), token)
  // Anybody can make an organization with teams of any name: only those that the connector names count.
  const named = new Set(spec.teams_to_roles.map(({ organization }) => organization.toLowerCase()))
  const teams = held.filter(({ organization }) => named.has(organization.toLowerCase()))
  const traits = {
    github_login: [user.login],
    github_orgs: [...new Set(teams.map(({ organization }) => organization))],
    github_teams: [...new Set(teams.map(({ team }) => team))],
  }
  return {
    user: user.login,
    identity: String(user.id),
    roles: rolesOfTeams(spec.teams_to_roles, teams),
    traits: Object.fromEntries(Object.entries(traits).filter(([, values]) => values.length > 0)),
    claimNames: [`login, and ${held.length} teams, ${teams.length} of them of organizations that count here`],
    mfaVerified: false,
  }
}

function apiOf({ endpoint_url, api_endpoint_url }: GithubConnector['spec']): string {
  const fallback = new URL(endpoint_url).host === 'github.com' ? 'https://api.github.com' : `${endpoint_url.replace(/\/+$/, '')}/api/v3`
  return (api_endpoint_url ?? fallback).replace(/\/+$/, '')
}

/** All of them, page by page: with some left out a role that denies could be missing. */
async function listTeams(first: URL, token: string): Promise<Team[]> {
  const teams: Team[] = []
  let next: URL | undefined = first
  for (let page = 0; next; page++) {
    if (page >= MAX_PAGES)
      throw new AppError(
        'permission_denied',
        `you are in more than ${MAX_PAGES * PER_PAGE} teams, more than are read: tell your administrator`,
      )
    const answer: Answer = await ask(next, token)
    for (const { slug, organization } of parse(teamsSchema, answer)) teams.push({ organization: organization.login, team: slug })
    next = nextPage(answer, next)
  }
  return teams
}

interface Answer {
  url: URL
  headers: Headers
  body: unknown
}

async function ask(url: URL, token: string): Promise<Answer> {
  const response = await fetchFromProvider(url.href, {
    headers: { accept: 'application/vnd.github+json', authorization: `Bearer ${token}`, 'user-agent': 'sallyport' },
  })
  if (response.status !== 200)
    throw new AppError('unavailable', `GitHub answers with HTTP ${response.status} at ${url.origin}${url.pathname}: try again`)
  try {
    return { url, headers: response.headers, body: JSON.parse(await response.text()) }
  } catch (cause) {
    throw new AppError('unavailable', `GitHub's answer at ${url.origin}${url.pathname} is not JSON`, { cause })
  }
}

function parse<T>(schema: z.ZodType<T>, { url, body }: Answer): T {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new AppError('unavailable', `GitHub's answer at ${url.origin}${url.pathname} is not what its API documents`, {
    cause: parsed.error,
  })
}

/** RFC 8288; the token goes to no other place than the API. */
function nextPage({ headers }: Answer, { origin }: URL): URL | undefined {
  const link = /<([^>]{1,2000})>\s*;[^,]*\brel="next"/.exec(headers.get('link') ?? '')?.[1]
  const url = link === undefined ? null : URL.parse(link)
  if (url && url.origin !== origin)
    throw new AppError('unavailable', 'GitHub names a next page that is not its own: tell your administrator')
  return url ?? undefined
}
