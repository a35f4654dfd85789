import { Secret, TOTP } from 'otpauth'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { whoami } from '../../src/api/identity.ts'
import { acceptInvite, inviteUser, showInvite } from '../../src/api/users.ts'
import { joinCluster, type Joined, openIdentityApi, renewIdentity } from '../../src/client/join.ts'
import { signInWithBrowser, signInWithPassword } from '../../src/client/login.ts'
import { establishTrust, type TrustedProxy } from '../../src/client/trust.ts'
import { PASSWORD } from '../cluster.ts'
import { atRandom, inTurn } from '../fakes/balancer.ts'
import { CLIENT, type IdentityProvider, startIdentityProvider } from '../fakes/identity-provider.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { type OAuthUpstream, startOAuthUpstream } from '../fakes/oauth-upstream.ts'
import { type Page, PlainBrowser } from '../fakes/plain-browser.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { connectorLink, through } from '../fakes/sso-browser.ts'
import { type Replicas, startReplicas } from '../replicas.ts'

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

// Everything that has several steps, with each step at whichever replica it comes to.
describe.skipIf(POSTGRES_BIN === undefined).each([
  ['another one for each step', inTurn],
  ['any', () => atRandom(7)],
])('at two replicas, %s', (_, choose) => {
  let replicas: Replicas
  let idp: IdentityProvider
  let upstream: OAuthUpstream
  beforeAll(async () => {
    replicas = await startReplicas({ file: { auth_service: { cluster_name: 'test', oauth: { loopback_documents: 'yes' } } } })
    upstream = await startOAuthUpstream()
    idp = await startIdentityProvider([`${replicas.url}/v1/webapi/oidc/callback`])
    const allow = { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }
    await replicas.save({ kind: 'role', version: 'v8', metadata: { name: 'all' }, spec: { allow } })
    await replicas.saveUser('ana', ['all'])
    const spec = { uri: `mcp+${upstream.url}`, mcp: { oauth: { mode: 'per_user' } } }
    await replicas.save({ kind: 'app', version: 'v3', metadata: { name: 'crm', labels: { env: 'test' } }, spec })
  }, 120_000)
  afterAll(async () => {
    await replicas?.close()
    await upstream?.close()
    await idp?.close()
  })
  beforeEach(() => {
    replicas.balancer.choose = choose()
  })
  const proxy = () => ({ host: '127.0.0.1', port: replicas.balancer.port })
  const withTrust = async <T>(use: (trusted: TrustedProxy) => Promise<T>): Promise<T> => {
    const trusted = await establishTrust({ proxy: proxy(), known: [], caPins: [], insecure: false })
    return await use(trusted).finally(() => trusted.close())
  }

  test('tsh login with a password', async () => {
    for (let round = 0; round < 4; round++) {
      const { issued } = await withTrust((trusted) => signInWithPassword(trusted, { user: 'ana', password: PASSWORD }))
      expect(issued).toMatchObject({ user: 'ana', roles: ['all'] })
    }
  })

  test('tsh login by a page', async () => {
    for (let round = 0; round < 2; round++) {
      let ended: Promise<void> | undefined
      const show = (url: string): void => {
        const browser = new PlainBrowser()
        const fill = async (): Promise<void> => {
          const page = await browser.open(url.replace('https:', 'http:'))
          await fetch((await browser.submit(page, { user: 'ana', password: PASSWORD })).url)
        }
        ended = fill()
      }
      const { issued } = await withTrust((trusted) => signInWithBrowser(trusted, { timeoutMs: 20_000 }, show))
      await ended
      expect(issued).toMatchObject({ user: 'ana' })
    }
  })

  test('a sign-up with a second factor, whose codes count once in all', async () => {
    const { path } = await replicas.admin(inviteUser, { name: 'totty', roles: ['all'] })
    const token = path.split('/').at(-1) ?? ''
    const { totp_secret: secret } = await replicas.admin(showInvite, { token })
    const codes = new TOTP({ algorithm: 'SHA1', digits: 6, period: 30, secret: Secret.fromBase32(secret) })
    const now = Date.now()
    const totp = codes.generate({ timestamp: now - 30_000 })
    await replicas.admin(acceptInvite, { token, password: PASSWORD, totp, totp_secret: secret })
    const login = (code: string) =>
      withTrust((trusted) => signInWithPassword(trusted, { user: 'totty', password: PASSWORD, totp: code })).then(
        ({ issued }) => issued.user,
        (thrown: unknown) => String(thrown),
      )
    const code = codes.generate({ timestamp: now })
    expect([await login(code), await login(code), await login(code), await login(totp)]).toEqual([
      'totty',
      expect.stringContaining('wrong user name, password or one-time code'),
      expect.stringContaining('wrong user name, password or one-time code'),
      expect.stringContaining('wrong user name, password or one-time code'),
    ])
  })

  test('a device', async () => {
    const flow = new OAuthFlow(replicas)
    await flow.register({ grant_types: [DEVICE_GRANT, 'refresh_token'], redirect_uris: [] })
    const body = new URLSearchParams({ client_id: flow.clientId, scope: 'mcp', resource: `${replicas.url}/mcp` })
    const begun: unknown = await (await fetch(`${replicas.url}/oauth/device/start`, { method: 'POST', body })).json()
    const { device_code, user_code, verification_uri_complete } = {
      device_code: '',
      user_code: '',
      verification_uri_complete: '',
      ...Object(begun),
    }
    const ask = () => flow.token({ grant_type: DEVICE_GRANT, device_code })
    expect(await ask()).toMatchObject({ error: 'authorization_pending' })
    const { browser } = flow
    const confirmation = await browser.submit(await browser.open(verification_uri_complete), { user_code })
    const consent = await browser.submit(await browser.submit(confirmation, {}), { user: 'ana', password: PASSWORD })
    expect((await browser.submit(consent, { decision: 'allow' })).text).toContain('Your device is connected')
    const tokens = await ask()
    expect(tokens).toMatchObject({ status: 200 })
    expect((await flow.call('/mcp', tokens.access_token)).status).toBe(200)
    expect(await ask()).toMatchObject({ error: 'invalid_grant' })
  })

  test('the identity provider of the company', async () => {
    const spec = {
      issuer_url: idp.url,
      ...CLIENT,
      scope: ['email', 'groups'],
      claims_to_roles: [{ claim: 'groups', value: 'dev', roles: ['all'] }],
    }
    await replicas.save({ kind: 'oidc', version: 'v3', metadata: { name: 'corp' }, spec })
    idp.person = '1'
    idp.people.set('1', { email: 'bob@example.com', email_verified: true, groups: ['dev'] })
    for (let round = 0; round < 2; round++) {
      const flow = new OAuthFlow(replicas)
      await flow.register()
      const link = connectorLink(await flow.browser.open(flow.authorizeUrl({ resource: `${replicas.url}/mcp` })))
      const consent = await through(flow.browser, await flow.browser.open(link))
      expect(consent.text).toContain('as you, <b>bob@example.com</b>')
      const back = new URL((await flow.browser.submit(consent, { decision: 'allow' })).url)
      const tokens = await flow.exchange(back.searchParams.get('code') ?? '')
      expect((await flow.call('/mcp', tokens.access_token)).status).toBe(200)
    }
  })

  test('an account at an MCP server, renewed once for all who need it at either', async () => {
    const browser = new PlainBrowser()
    const open = async (): Promise<Page> => {
      const page = await browser.open(`${replicas.url}/web/accounts/crm`)
      return page.text.includes('name="password"') ? await browser.submit(page, { user: 'ana', password: PASSWORD }) : page
    }
    const left = await browser.submit(await open(), { action: 'begin' })
    const [, target = ''] = /<a href="([^"]+)" rel="noreferrer">/.exec(left.text) ?? []
    const back = (await new PlainBrowser().open(target.replaceAll('&amp;', '&'))).url
    expect((await browser.open(back)).text).toContain('are signed in to <b>crm</b>')
    const flow = new OAuthFlow(replicas)
    const token = await replicas.tokenOf('ana')
    const callAll = async (): Promise<number[]> =>
      (await Promise.all(Array.from({ length: 6 }, () => flow.call('/mcp/apps/crm', token)))).map(({ status }) => status)
    expect(await callAll()).toEqual([200, 200, 200, 200, 200, 200])
    // The token is not taken any more, which both replicas find out at once: two renewals with one refresh token would look like theft.
    upstream.forget()
    const before = upstream.asked.length
    expect(await callAll()).toEqual([200, 200, 200, 200, 200, 200])
    expect(upstream.asked.slice(before)).toEqual(['token'])
  })

  test('a bot that joins and renews; a copy of what it had before locks it everywhere', async () => {
    await replicas.save({ kind: 'bot', version: 'v1', metadata: { name: 'robo' }, spec: { roles: ['all'], traits: [] } })
    const token = {
      kind: 'token',
      version: 'v2',
      metadata: { name: 'robo-joins' },
      spec: { roles: ['Bot'], bot_name: 'robo', join_method: 'token' },
    }
    await replicas.save(token)
    const target = { proxy: proxy(), caPins: [], authorities: [] }
    const join = () => joinCluster(target, { role: 'Bot', hostname: 'r' }, { method: 'token', token: 'robo-joins' }, { now: Date.now })
    const as = async <T>(joined: Joined, use: (api: ReturnType<typeof openIdentityApi>['api']) => Promise<T>): Promise<T> => {
      const connection = openIdentityApi(target, joined.identity)
      return await use(connection.api).finally(() => connection.close())
    }
    const own = [await join()]
    for (let round = 0; round < 6; round++) {
      const [last] = own.slice(-1)
      if (last) own.push(await as(last, (api) => renewIdentity(api, { hostname: 'r' }, { now: Date.now })))
    }
    const [copied, newest] = [own[2], own.at(-1)]
    if (!copied || !newest) throw new Error('no certificates')
    await expect(as(copied, (api) => renewIdentity(api, { hostname: 'r' }, { now: Date.now }))).rejects.toMatchObject({
      code: 'permission_denied',
    })
    for (let round = 0; round < 2; round++)
      await expect(as(newest, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'permission_denied' })
    await replicas.save({ ...token, metadata: { name: 'robo-joins-again' } })
    const again = () =>
      joinCluster(target, { role: 'Bot', hostname: 'r' }, { method: 'token', token: 'robo-joins-again' }, { now: Date.now })
    const all = await Promise.allSettled([again(), again(), again(), again()])
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})
