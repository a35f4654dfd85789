import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'

/** What an identity provider says of somebody; `sub` unless told is the name of the person. */
export type Person = Record<string, unknown>

/** An OpenID provider of others' making, on loopback, where whoever `person` names is signed in already. */
export interface IdentityProvider {
  url: string
  /** By subject. */
  people: Map<string, Person>
  /** The subject who sits at the browser; undefined refuses. */
  person: string | undefined
  /** Answers instead of the provider where it says so. */
  intercept: ((path: string) => RequestListener | undefined) | undefined
  /** Paths that were asked for. */
  seen: string[]
  close(): Promise<void>
}

export const CLIENT = { client_id: 'sallyport', client_secret: 'a secret of the connector, for tests' }

export async function startIdentityProvider(
  redirectUris: string[],
  { claimsInIdToken = false }: { claimsInIdToken?: boolean } = {},
): Promise<IdentityProvider> {
  const answers: RequestListener[] = []
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    idp.seen.push(path)
    const answer = idp.intercept?.(path) ?? answers[0]
    answer?.(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const idp: IdentityProvider = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens
    people: new Map(),
    person: undefined,
    intercept: undefined,
    seen: [],
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  const provider = new Provider(idp.url, {
    clients: [{ ...CLIENT, redirect_uris: redirectUris }],
    claims: { openid: ['sub', 'amr'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    scopes: ['openid', 'email', 'profile', 'groups'],
    conformIdTokenClaims: !claimsInIdToken,
    cookies: { keys: ['for tests'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...idp.people.get(sub) }) }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ accountId: ctx.oidc.account?.accountId ?? '', clientId: CLIENT.client_id })
      grant.addOIDCScope('openid email profile groups')
      await grant.save()
      return grant
    },
  })
  provider.on('server_error', (_, thrown) => console.error('the identity provider of the test failed', thrown))
  const callback = provider.callback()
  answers.push((request, response) => {
    if (!request.url?.startsWith('/interaction/')) return void callback(request, response)
    const { person } = idp
    const result =
      person === undefined
        ? { error: 'access_denied', error_description: 'not <b>today</b>' }
        : { login: { accountId: person, remember: false } }
    void provider.interactionFinished(request, response, result)
  })
  return idp
}
