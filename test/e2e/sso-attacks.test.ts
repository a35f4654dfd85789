import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { deleteResource, getResource, listResources, upsertResource } from '../../src/api/resources.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { GITHUB_CLIENT, type FakeGithub, startGithub } from '../fakes/github.ts'
import { CLIENT, type IdentityProvider, startIdentityProvider } from '../fakes/identity-provider.ts'
import { PlainBrowser, type Page } from '../fakes/plain-browser.ts'
import { callbackAfter, connectorLink, through } from '../fakes/sso-browser.ts'
import { eventually } from '../wait.ts'

let cluster: Cluster
let idp: IdentityProvider
let github: FakeGithub

beforeAll(async () => {
  cluster = await startCluster()
  idp = await startIdentityProvider([`${cluster.url}/v1/webapi/oidc/callback`], { claimsInIdToken: true })
  github = await startGithub()
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveRole('ops', { allow: {} })
  await saveOidc()
  await saveGithub()
  idp.people.set('1', { email: 'ana@example.com', email_verified: true, groups: ['dev'] })
}, 60_000)
afterAll(async () => {
  await cluster?.close()
  await idp?.close()
  await github?.close()
})
afterEach(() => {
  idp.person = '1'
  idp.intercept = undefined
})

async function saveOidc(spec: Record<string, unknown> = {}, name = 'corp'): Promise<void> {
  await cluster.save({
    kind: 'oidc',
    version: 'v3',
    metadata: { name },
    spec: {
      issuer_url: idp.url,
      ...CLIENT,
      scope: ['email', 'profile', 'groups'],
      claims_to_roles: [{ claim: 'groups', value: 'dev', roles: ['dev'] }],
      ...spec,
    },
  })
}

async function saveGithub(spec: Record<string, unknown> = {}): Promise<void> {
  const teams_to_roles = [{ organization: 'acme', team: 'platform', roles: ['dev'] }]
  await cluster.save({
    kind: 'github',
    version: 'v3',
    metadata: { name: 'gh' },
    spec: { ...GITHUB_CLIENT, endpoint_url: github.url, teams_to_roles, ...spec },
  })
}

/** A browser that was sent to the identity provider. */
async function begin(connector = 'corp'): Promise<{ browser: PlainBrowser; away: Page }> {
  const browser = new PlainBrowser()
  const page = await browser.open(`${cluster.url}/web/account`)
  return { browser, away: await browser.open(connectorLink(page, connector)) }
}

async function signIn(connector = 'corp'): Promise<Page> {
  const { browser, away } = await begin(connector)
  return through(browser, away)
}

async function expectRefused(page: Page, words: string | RegExp, event: Record<string, unknown> = {}): Promise<void> {
  expect(page.text).toMatch(words)
  expect(page.status).toBeGreaterThanOrEqual(400)
  expect(page.text).not.toContain('act for you')
  const last = (await cluster.events({ type: 'user.login' })).at(-1)
  expect(last).toMatchObject({ success: false, ...event })
}

test('an answer works in the browser that asked for it, and once', async () => {
  idp.person = '1'
  const { browser, away } = await begin()
  const callback = await callbackAfter(away)
  await expectRefused(await new PlainBrowser().open(callback), 'begun in another browser')
  const other = await begin()
  await expectRefused(await other.browser.open(callback), 'begun in another browser')
  // What another browser tried has used nothing up.
  expect((await browser.open(callback)).text).toContain('act for you, <b>ana@example.com</b>')
  await expectRefused(await browser.open(callback), 'used already or has expired')
})

test('a state that is unknown, doubled or missing leads nowhere', async () => {
  const { browser, away } = await begin()
  const callback = await callbackAfter(away)
  const changed = new URL(callback)
  changed.searchParams.set('state', 'x'.repeat(43))
  await expectRefused(await browser.open(changed), 'used already or has expired')
  const doubled = new URL(callback)
  doubled.searchParams.append('state', 'x')
  await expectRefused(await browser.open(doubled), 'not the answer of an identity provider')
  await expectRefused(await browser.open(`${cluster.url}/v1/webapi/oidc/callback`), 'not the answer of an identity provider')
})

test('an answer that comes back under the name of another issuer, or at the place of another kind, is refused', async () => {
  const first = await begin()
  const mixed = await callbackAfter(first.away)
  expect(mixed.searchParams.get('iss')).toBe(idp.url)
  mixed.searchParams.set('iss', 'https://evil.example.com')
  await expectRefused(await first.browser.open(mixed), /does not hold .*iss/, { connector: 'corp' })
  const second = await begin()
  const moved = await callbackAfter(second.away)
  moved.pathname = '/v1/webapi/github/callback'
  await expectRefused(await second.browser.open(moved), 'not the one you were sent to', { connector: 'corp' })
})

test('a code of somebody else, put into one’s own flow, does not pass PKCE and nonce', async () => {
  const victim = await begin()
  const stolen = await callbackAfter(victim.away)
  const thief = await begin()
  const own = await callbackAfter(thief.away)
  own.searchParams.set('code', stolen.searchParams.get('code') ?? '')
  await expectRefused(await thief.browser.open(own), 'takes this code no longer')
})

test('what the identity provider refuses is said as it says it, without markup', async () => {
  idp.person = undefined
  const page = await signIn()
  await expectRefused(page, 'access_denied: not &lt;b&gt;today&lt;/b&gt;', { connector: 'corp', method: 'oidc' })
  expect(page.text).toContain('href="/web/account"')
})

test.each([
  ['another audience', { aud: 'somebody-else' }, 'unexpected JWT &quot;aud&quot; (audience) claim'],
  ['another issuer', { iss: 'https://evil.example.com' }, 'unexpected JWT &quot;iss&quot; (issuer) claim'],
  ['another nonce', { nonce: 'replayed' }, 'unexpected ID Token &quot;nonce&quot; claim'],
  ['an end in the past', { exp: 1_700_000_000 }, 'unexpected JWT &quot;exp&quot;'],
])('an ID token with %s signs nobody in', async (_, claims, words) => {
  await expectRefused(await withForgedToken(claims, true), words)
})

test('an ID token that somebody else signed, or nobody, signs nobody in', async () => {
  await expectRefused(await withForgedToken({}, false), /does not hold/)
  await expectRefused(await withForgedToken({}, 'none'), /does not hold/)
})

/** Signs in while the token endpoint answers with an ID token of ours. */
async function withForgedToken(claims: Record<string, unknown>, signedBy: boolean | 'none', userinfo = {}): Promise<Page> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const stranger = await generateKeyPair('RS256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'RS256', use: 'sig' }
  idp.intercept = undefined
  await saveOidc({ display: `forged ${String(signedBy)} ${Object.keys(claims).join('')}` })
  const { browser, away } = await begin()
  const callback = await callbackAfter(away)
  const nonce = new URL(away.url).searchParams.get('nonce')
  const now = Math.floor(Date.now() / 1000)
  const payload = {
    iss: idp.url,
    aud: CLIENT.client_id,
    sub: '1',
    iat: now,
    exp: now + 60,
    nonce,
    email: 'ana@example.com',
    email_verified: true,
    groups: ['dev'],
    ...claims,
  }
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const id_token =
    signedBy === 'none'
      ? `${encode({ alg: 'none' })}.${encode(payload)}.`
      : await new SignJWT(payload).setProtectedHeader({ alg: 'RS256', kid: 'k' }).sign(signedBy ? privateKey : stranger.privateKey)
  idp.intercept = (path) => (request, response) => {
    const bodies: Record<string, unknown> = {
      '/token': { access_token: 'x', token_type: 'Bearer', id_token },
      '/jwks': { keys: [jwk] },
      '/me': { sub: '1', ...userinfo },
    }
    request.resume()
    response.writeHead(path in bodies ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(bodies[path] ?? {}))
  }
  return browser.open(callback)
}

test('what is verified of one address says nothing of another, and UserInfo of another subject nothing at all', async () => {
  const victims = { email: 'boss@example.com', email_verified: undefined }
  await expectRefused(await withForgedToken(victims, true, { email: 'own@example.com', email_verified: true }), 'email address is verified')
  await expectRefused(await withForgedToken({}, true, { sub: '2', groups: ['dev'] }), 'does not hold')
})

test('an honest token of the same making signs in', async () => {
  expect((await withForgedToken({}, true)).text).toContain('act for you, <b>ana@example.com</b>')
})

test('nobody without a role is let in: the page names the claims, not what they say', async () => {
  idp.person = '2'
  idp.people.set('2', { email: 'eve@example.com', email_verified: true, groups: ['secret-project'] })
  await saveOidc()
  const page = await signIn()
  await expectRefused(page, /gives you a role here.*It sent the claims .*groups/s)
  expect(page.text).not.toContain('secret-project')
  await expect(cluster.admin(getResource, { kind: 'user', name: 'eve@example.com' })).rejects.toThrow('not found')
})

test.each([
  ['says that it is not verified', { email_verified: false }],
  ['does not say that it is verified', {}],
])('an email is no name where the provider %s', async (_, verified) => {
  idp.person = '3'
  idp.people.set('3', { email: 'mallory@example.com', groups: ['dev'], ...verified })
  await expectRefused(await signIn(), 'email address is verified')
  await saveOidc({ allow_unverified_email: true })
  expect((await signIn()).text).toContain('act for you, <b>mallory@example.com</b>')
  await saveOidc()
})

test('an email that nobody verified is no trait and gives no role', async () => {
  idp.person = '4'
  idp.people.set('4', { email: 'boss@example.com', preferred_username: 'dan', groups: ['dev'] })
  const mappings = [
    { claim: 'groups', value: 'dev', roles: ['dev'] },
    { claim: 'email', value: 'boss@example.com', roles: ['ops'] },
  ]
  await saveOidc({ username_claim: 'preferred_username', claims_to_roles: mappings })
  expect((await signIn()).text).toContain('act for you, <b>dan</b>')
  const { spec } = await cluster.admin(getResource, { kind: 'user', name: 'dan' })
  expect(spec).toMatchObject({ roles: ['dev'], traits: { groups: ['dev'], preferred_username: ['dan'] } })
  expect(Object.keys(Object(spec).traits)).not.toContain('email')
  await saveOidc()
})

test.each(['local-admin', 'two words', 'a/b', 'x'.repeat(300)])('%s cannot be a user', async (name) => {
  idp.person = '5'
  idp.people.set('5', { preferred_username: name, groups: ['dev'] })
  await saveOidc({ username_claim: 'preferred_username' })
  await expectRefused(await signIn(), 'cannot be a user here')
  await saveOidc()
})

test('more groups than are kept are refused, not cut', async () => {
  idp.person = '6'
  idp.people.set('6', {
    email: 'many@example.com',
    email_verified: true,
    groups: ['dev', ...Array.from({ length: 1001 }, (_, n) => `g${n}`)],
  })
  await expectRefused(await signIn(), 'more of you than can be kept')
})

test('a local user, and one of another connector, is not taken over', async () => {
  await cluster.saveUser('ana-local', ['ops'])
  github.user = { id: 7, login: 'ana-local' }
  github.teams = [{ organization: 'acme', slug: 'platform' }]
  await expectRefused(await signIn('gh'), 'already who signs in another way', {
    connector: 'gh',
    method: 'github',
  })
  expect((await cluster.admin(getResource, { kind: 'user', name: 'ana-local' })).spec).toMatchObject({ roles: ['ops'] })
  github.user = { id: 7, login: 'ana@example.com' }
  idp.person = '1'
  await signIn()
  await expectRefused(await signIn('gh'), 'already who signs in another way')
})

test('a user of a connector has no password: no link makes one, and none is taken', async () => {
  idp.person = '1'
  await signIn()
  const { resetUser } = await import('../../src/api/users.ts')
  await expect(cluster.admin(resetUser, { name: 'ana@example.com' })).rejects.toThrow('signs in by the connector "corp"')
})

test('a lock keeps out, and its message is shown', async () => {
  idp.person = '1'
  const lock = {
    kind: 'lock',
    version: 'v2',
    metadata: { name: 'l' },
    spec: { target: { user: 'ana@example.com' }, message: 'laptop stolen' },
  }
  await cluster.save(lock)
  await expectRefused(await signIn(), 'laptop stolen')
  await cluster.admin(deleteResource, { kind: 'lock', name: 'l' })
})

test('a name that the provider gives to somebody else brings nothing along', async () => {
  idp.person = '8'
  idp.people.set('8', { email: 'shared@example.com', email_verified: true, groups: ['dev'] })
  await signIn()
  const token = await cluster.tokenOf('shared@example.com')
  await cluster.saveHttpApp('everything', 'http://127.0.0.1:9/mcp')
  const call = async (): Promise<number> =>
    (await fetch(cluster.mcpUrl('everything'), { method: 'POST', headers: { authorization: `Bearer ${token}` } })).status
  expect(await call()).not.toBe(401)
  await signIn()
  expect(await call()).not.toBe(401)
  idp.person = '9'
  idp.people.set('9', { email: 'shared@example.com', email_verified: true, groups: ['dev'] })
  await signIn()
  await eventually('the end of the token', async () => (await call()) === 401)
})

test('a user is gone when the sign-in is over', async () => {
  await cluster.saveRole('brief', { allow: {}, options: { max_session_ttl: '2s' } })
  idp.person = '11'
  idp.people.set('11', { email: 'guest@example.com', email_verified: true, groups: ['guests'] })
  await saveOidc({ claims_to_roles: [{ claim: 'groups', value: 'guests', roles: ['brief'] }] })
  expect((await signIn()).text).toContain('act for you, <b>guest@example.com</b>')
  const find = async (): Promise<unknown> =>
    cluster.admin(getResource, { kind: 'user', name: 'guest@example.com' }).then(
      () => 'there',
      () => 'gone',
    )
  await eventually('the end of the user', async () => (await find()) === 'gone')
  await saveOidc()
})

test('disabling a connector ends the sessions of its users, and its button goes', async () => {
  idp.person = '1'
  await signIn()
  await saveOidc({ disabled: true })
  await expect(cluster.admin(getResource, { kind: 'user', name: 'ana@example.com' })).rejects.toThrow('not found')
  const page = await new PlainBrowser().open(`${cluster.url}/web/account`)
  expect(() => connectorLink(page, 'corp')).toThrow('no button')
  const straight = await new PlainBrowser().open(`${cluster.url}/web/account/sso?connector=corp`)
  expect(straight.text).toContain('offers no sign-in by &quot;corp&quot;')
  await saveOidc()
})

test('a connector that changed while somebody was away lets nobody in', async () => {
  const { browser, away } = await begin()
  const callback = await callbackAfter(away)
  await saveOidc({ display: 'another' })
  await expectRefused(await browser.open(callback), 'was changed meanwhile')
})

test('a link on a page of somebody else begins nothing', async () => {
  const page = await new PlainBrowser().open(`${cluster.url}/web/account/sso?connector=corp`, {
    headers: { 'sec-fetch-site': 'cross-site' },
  })
  expect(page.status).toBe(200)
  expect(page.text).toContain('Sign in with')
})

test('teams count in the organizations that the connector names, from all pages', async () => {
  github.user = { id: 10, login: 'octo' }
  github.teams = [
    { organization: 'evil', slug: 'platform' },
    { organization: 'evil', slug: 'b' },
    { organization: 'evil', slug: 'c' },
  ]
  await expectRefused(await signIn('gh'), 'gives you a role here')
  github.teams.push({ organization: 'Acme', slug: 'web' }, { organization: 'Acme', slug: 'platform' })
  expect((await signIn('gh')).text).toContain('act for you, <b>octo</b>')
  const { spec } = await cluster.admin(getResource, { kind: 'user', name: 'octo' })
  expect(spec).toMatchObject({
    roles: ['dev'],
    traits: { github_orgs: ['Acme'], github_teams: ['web', 'platform'], github_login: ['octo'] },
  })
  github.nextPage = 'http://127.0.0.1:9/elsewhere'
  await expectRefused(await signIn('gh'), 'not its own')
  github.nextPage = undefined
})

test('the secret of a connector is shown to those who ask for it by name of that right, and nowhere else', async () => {
  const { client_secret } = CLIENT
  const shown = await cluster.admin(getResource, { kind: 'oidc', name: 'corp' })
  expect(JSON.stringify(shown)).not.toContain(client_secret)
  expect(JSON.stringify(await cluster.admin(listResources, { kind: 'oidc' }))).not.toContain(client_secret)
  expect(JSON.stringify(await cluster.events())).not.toContain(client_secret)
  expect(await cluster.admin(getResource, { kind: 'oidc', name: 'corp', with_secrets: 'true' })).toMatchObject({ spec: { client_secret } })
  const { client_secret: _, ...spec } = { ...Object(shown.spec), display: 'kept' }
  const resource = { ...shown, spec }
  const saved = await cluster.admin(upsertResource, { kind: 'oidc', name: 'corp', resource })
  expect(JSON.stringify(saved)).not.toContain(client_secret)
  idp.person = '1'
  expect((await signIn()).text).toContain('act for you')
  const elsewhere = { ...saved.resource, spec: { ...spec, issuer_url: 'https://evil.example.com' } }
  await expect(cluster.admin(upsertResource, { kind: 'oidc', name: 'corp', resource: elsewhere })).rejects.toThrow('give it again')
  await expect(saveOidc({ client_secret: undefined }, 'fresh')).rejects.toThrow('spec.client_secret: required')
  await expect(saveOidc({ issuer_url: 'http://idp.example.com' })).rejects.toThrow('issuer_url')
  await expect(saveOidc({}, 'gh')).rejects.toThrow('there is a connector "gh" of kind github')
})

test('where passwords are not allowed there is no form, and none is taken', async () => {
  await cluster.saveUser('pat', ['dev'])
  const save = (spec: Record<string, unknown>): Promise<void> =>
    cluster.save({ kind: 'cluster_auth_preference', version: 'v2', metadata: { name: 'cluster-auth-preference' }, spec })
  const before = await new PlainBrowser().open(`${cluster.url}/web/account`)
  await save({ type: 'oidc', connector_name: 'corp', allow_local_auth: false })
  const browser = new PlainBrowser()
  const page = await browser.open(`${cluster.url}/web/account`)
  expect(page.text).not.toContain('name="password"')
  expect(connectorLink(page).searchParams.get('connector')).toBe('corp')
  const refused = await new PlainBrowser().submit(before, { user: 'pat', password: PASSWORD })
  expect(refused.text).toContain('does not let anybody in with a password')
  await save({ type: 'local' })
  expect((await new PlainBrowser().submit(before, { user: 'pat', password: PASSWORD })).text).toContain('act for you, <b>pat</b>')
})
