import 'reflect-metadata'
import { ExtendedKeyUsageExtension, SubjectAlternativeNameExtension, X509Certificate as Oracle } from '@peculiar/x509'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from 'jose'
import type { JSONWebKeySet } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { type Issuer, startIssuer } from '../fakes/issuer.ts'
import { bin, runProgram, temporaryDirectory } from '../programs.ts'
import { within } from '../wait.ts'

let cluster: Cluster
let issuer: Issuer
let home: Awaited<ReturnType<typeof temporaryDirectory>>

beforeAll(async () => {
  cluster = await startCluster()
  issuer = await startIssuer()
  home = await temporaryDirectory()
  await cluster.saveRole('workloads', { allow: { workload_identity_labels: { env: 'prod' } } })
  await cluster.saveRole('nothing', {})
  for (const name of ['ci', 'other']) await cluster.save({ kind: 'bot', version: 'v1', metadata: { name }, spec: { roles: ['workloads'] } })
  const rules = { allow: [{ conditions: [{ attribute: 'join.oidc.env', eq: { value: 'prod' } }] }] }
  await saveWorkload(
    'web',
    { env: 'prod', tier: 'web' },
    { id: '/svc/{{user.bot_name}}/web', x509: { dns_sans: ['{{user.bot_name}}.example.com'] }, hint: 'web' },
  )
  await saveWorkload(
    'db',
    { env: 'prod', tier: 'db' },
    { id: '/ci/{{join.oidc.repo}}', jwt: { maximum_ttl: '10m', extra_claims: { repo: '{{join.oidc.repo}}' } } },
    rules,
  )
  await saveWorkload('secret', { env: 'secret' }, { id: '/secret' })
  await cluster.save({
    kind: 'token',
    version: 'v2',
    metadata: { name: 'from-issuer' },
    spec: { roles: ['Bot'], bot_name: 'ci', join_method: 'oidc', oidc: { issuer: issuer.url, allow: [{ sub: 'job' }] } },
  })
}, 60_000)
afterAll(async () => {
  await cluster.close()
  await issuer.close()
  await home.dispose()
})

const proxy = (): string => `127.0.0.1:${cluster.running.address.port}`

async function saveWorkload(name: string, labels: Record<string, string>, spiffe: unknown, rules?: unknown): Promise<void> {
  await cluster.save({
    kind: 'workload_identity',
    version: 'v1',
    metadata: { name, labels },
    spec: { spiffe, ...(rules !== undefined && { rules }) },
  })
}

/** Runs tbot once as a job with these claims, or with a token of its own; its exit code and its folder. */
async function runBot(name: string, services: string, claims?: Record<string, unknown>) {
  const folder = join(home.path, name)
  const config = join(home.path, `${name}.yaml`)
  if (!claims) await cluster.save({ kind: 'token', version: 'v2', metadata: { name }, spec: { roles: ['Bot'], bot_name: 'other' } })
  const onboarding = claims ? `{join_method: oidc, token: from-issuer, oidc: {token_env_var_name: ID_TOKEN}}` : `{token: ${name}}`
  await writeFile(
    config,
    `proxy_server: ${proxy()}\nonboarding: ${onboarding}\nstorage: {type: memory}\noneshot: true\nservices:\n${services.replaceAll('OUT', folder)}`,
  )
  const env: Record<string, string> = claims ? { ID_TOKEN: await issuer.sign({ aud: 'test', sub: 'job', ...claims }) } : {}
  return { folder, ...(await runProgram(bin('tbot'), ['start', '-c', config], { env })) }
}

const X509 = `  - {type: workload-identity-x509, selector: {name: web}, destination: {type: directory, path: OUT/x509}}\n`
const JWT = `  - {type: workload-identity-jwt, selector: {labels: {tier: [db]}}, audiences: [shop.example.com], destination: {type: directory, path: OUT/jwt}}\n`

test.each([
  [
    'labels that no role has',
    `  - {type: workload-identity-x509, selector: {name: secret}, destination: {type: memory}}\n`,
    { env: 'prod' },
    'no_labels',
  ],
  ['a rule that does not fit', JWT, { env: 'dev', repo: 'shop' }, 'no_workload_rule'],
  ['a machine of which nobody vouches', JWT, undefined, 'no_workload_rule'],
])('refused by %s: no word on whether it exists, and the reason in the audit log', async (_, services, claims, kind) => {
  const { code, stderr } = await runBot(`refused-${kind}-${claims ? 'job' : 'token'}`, services, claims)
  expect([code, stderr]).toEqual([5, expect.stringContaining('there is no workload identity')])
  const [event] = (await cluster.events({ type: 'spiffe.svid.issued' })).slice(-1)
  expect(event).toMatchObject({
    code: 'TSPIFFE000E',
    user_kind: 2,
    bot_instance_id: expect.any(String),
    decision: { allow: false, kind },
  })
})

test('attributes that make no SPIFFE ID, several that fit, and none at all', async () => {
  const several = await runBot(
    'several',
    `  - {type: workload-identity-x509, selector: {labels: {env: prod}}, destination: {type: memory}}\n`,
    { env: 'prod', repo: 'a' },
  )
  expect([several.code, several.stderr]).toEqual([2, expect.stringContaining('fit several workload identities (db, web): name one')])
  const bad = await runBot('bad', JWT, { env: 'prod', repo: '../admin' })
  expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('a SPIFFE ID has letters')])
  const missing = await runBot('missing', JWT, { env: 'prod' })
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('names join.oidc.repo, which this workload does not have')])
})

test('an X.509 SVID is one: by openssl, by another library, and between two programs over TLS', async () => {
  const { code, folder } = await runBot('x509', X509, { env: 'prod' })
  expect([code, (await readdir(join(folder, 'x509'))).toSorted()]).toEqual([0, ['svid.pem', 'svid_bundle.pem', 'svid_key.pem']])
  for (const name of await readdir(join(folder, 'x509'))) expect((await stat(join(folder, 'x509', name))).mode & 0o777).toBe(0o600)
  const read = (name: string) => readFile(join(folder, 'x509', name), 'utf8')
  const [cert, key, ca] = await Promise.all([read('svid.pem'), read('svid_key.pem'), read('svid_bundle.pem')])
  for (const purpose of ['sslclient', 'sslserver']) {
    const paths = [join(folder, 'x509', 'svid_bundle.pem'), join(folder, 'x509', 'svid.pem')]
    const verified = spawnSync(
      'openssl',
      ['verify', '-x509_strict', '-no-CApath', '-no-CAstore', '-purpose', purpose, '-CAfile', ...paths],
      { encoding: 'utf8' },
    )
    expect(verified.stdout + verified.stderr).toContain(': OK')
  }
  const oracle = new Oracle(cert)
  expect(oracle.getExtension(SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
    { type: 'dns', value: 'ci.example.com' },
    { type: 'url', value: 'spiffe://test/svc/ci/web' },
  ])
  expect(oracle.getExtension(ExtendedKeyUsageExtension)?.usages).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  expect(new Oracle(ca).getExtension(SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([{ type: 'url', value: 'spiffe://test' }])
  expect(await spoken({ cert, key, ca })).toBe('URI:spiffe://test/svc/ci/web')
  const { validToDate, serialNumber } = new X509Certificate(cert)
  expect(validToDate.getTime() - Date.now()).toBeLessThanOrEqual(3_600_000)
  const [event] = await cluster.events({ type: 'spiffe.svid.issued', user: 'bot-ci' }).then((events) => events.slice(-1))
  expect(event).toMatchObject({
    code: 'TSPIFFE000I',
    name: 'web',
    spiffe_id: 'spiffe://test/svc/ci/web',
    svid_type: 'x509',
    hint: 'web',
    serial: serialNumber,
    dns_sans: ['ci.example.com'],
    bot_name: 'ci',
    join_method: 'oidc',
    join_token: 'from-issuer',
  })
})

test('a JWT SVID is one: for its audience, by the keys that are published, and as an OpenID Connect token', async () => {
  const { code, stderr, folder } = await runBot('jwt', JWT, { env: 'prod', repo: 'shop' })
  expect([code, stderr]).toEqual([0, expect.any(String)])
  const token = await readFile(join(folder, 'jwt', 'jwt_svid'), 'utf8')
  const found = await getJson('/workload-identity/.well-known/openid-configuration')
  const keys = createRemoteJWKSet(new URL('/workload-identity/jwt-jwks.json', cluster.url))
  const expected = { audience: 'shop.example.com', issuer: String(found['issuer']), subject: 'spiffe://test/ci/shop' }
  const { payload } = await jwtVerify(token, keys, expected)
  expect(payload).toMatchObject({ repo: 'shop', exp: (payload.iat ?? 0) + 600 })
  await expect(jwtVerify(token, keys, { ...expected, audience: 'elsewhere' })).rejects.toThrow('unexpected "aud" claim value')
  const bundle = await getJson('/webapi/spiffe/bundle.json')
  expect(bundle['spiffe_refresh_hint']).toBe(300)
  const bundled = bundle['keys'] as { use: string; x5c?: string[] }[]
  expect(bundled.map(({ use }) => use)).toEqual(['x509-svid', 'jwt-svid'])
  expect(new X509Certificate(Buffer.from(bundled[0]?.x5c?.[0] ?? '', 'base64')).ca).toBe(true)
  const jwtKeys: JSONWebKeySet = { keys: bundled.slice(1).map(({ use: _, ...key }) => ({ kty: 'EC', ...key })) }
  await jwtVerify(token, createLocalJWKSet(jwtKeys), expected)
  for (const path of ['/.well-known/jwks.json', '/oauth/jwks'])
    await expect(jwtVerify(token, createRemoteJWKSet(new URL(path, cluster.url)))).rejects.toThrow()
})

test('a person gets them by tsh, as their roles allow', async () => {
  await cluster.saveUser('ana', ['workloads'])
  await cluster.saveUser('eve', ['nothing'])
  const out = join(home.path, 'ana')
  const issue = async (user: string, ...args: string[]) =>
    await runProgram(bin('tsh'), ['workload-identity', ...args, '-i', await cluster.identityFileOf(user), '--proxy', proxy()])
  const denied = await issue('eve', 'issue-x509', '--name-selector=web', `--output=${out}`)
  expect([denied.code, denied.stderr]).toEqual([5, expect.stringContaining('there is no workload identity "web" that you may have')])
  const bot = await issue('ana', 'issue-x509', '--name-selector=web', `--output=${out}`)
  expect([bot.code, bot.stderr]).toEqual([1, expect.stringContaining('names user.bot_name')])
  await saveWorkload('people', { env: 'prod', tier: 'people' }, { id: '/people/{{user.name}}' })
  const issued = await issue('ana', 'issue-x509', '--label-selector=tier=people', `--output=${out}`)
  expect([issued.code, issued.stdout]).toEqual([0, expect.stringContaining('spiffe://test/people/ana is in ')])
  expect((await readdir(out)).toSorted()).toEqual(['svid.pem', 'svid_bundle.pem', 'svid_key.pem'])
  const jwt = await issue('ana', 'issue-jwt', '--name-selector=people', '--audience=a', '--audience=b', '--credential-ttl=5m')
  const { payload } = await jwtVerify(jwt.stdout.trim(), createRemoteJWKSet(new URL('/workload-identity/jwt-jwks.json', cluster.url)))
  expect(payload).toMatchObject({ sub: 'spiffe://test/people/ana', aud: ['a', 'b'], exp: (payload.iat ?? 0) + 300 })
}, 60_000)

async function getJson(path: string): Promise<Record<string, unknown>> {
  const answer = await fetch(new URL(path, cluster.url))
  expect([path, answer.status]).toEqual([path, 200])
  return (await answer.json()) as Record<string, unknown> // tests compare what they find with literals
}

/** Two programs that know nothing but these files; what the server learns of its client. */
async function spoken(files: { cert: string; key: string; ca: string }): Promise<string> {
  const server = createServer({ ...files, requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.end(
      socket
        .getPeerX509Certificate()
        ?.subjectAltName?.split(', ')
        .find((name) => name.startsWith('URI:')) ?? '',
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // it listens
  try {
    const client = connect({ host: '127.0.0.1', port, ...files, servername: 'ci.example.com' })
    let text = ''
    client.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    await within('the end of the connection', new Promise((resolve, reject) => client.once('end', resolve).once('error', reject)))
    return text
  } finally {
    server.close()
  }
}
