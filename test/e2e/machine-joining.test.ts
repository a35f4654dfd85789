import { generateKeyPairSync } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportJWK, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseIdentityFile } from '../../src/ca/identity-file.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { bin, ROOT, runProgram, temporaryDirectory } from '../programs.ts'

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'delegated' }, spec: { roles: ['dev'] } })
})
afterAll(async () => {
  await cluster.close()
  await home.dispose()
})

async function saveToken(name: string, method: string, settings: unknown): Promise<void> {
  const spec = { roles: ['Bot'], bot_name: 'delegated', join_method: method, [method]: settings }
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name }, spec })
}

function once(token: string, method: string, more: string[] = [], env: Record<string, string> = {}) {
  const where = [`--proxy-server=127.0.0.1:${cluster.running.address.port}`, `--token=${token}`, `--join-method=${method}`]
  const places = [`--storage=${join(home.path, token)}`, `--destination=${join(home.path, `${token}-out`)}`]
  return runProgram(bin('tbot'), ['start', 'identity', '--oneshot', ...where, ...places, ...more], { env })
}

test('a bot that is known by its key: printed beforehand, and renewed from then on', async () => {
  const storage = join(home.path, 'named')
  const { code, stdout: publicKey } = await runProgram(bin('tbot'), ['keypair', 'create', `--storage=${storage}`])
  expect(code).toBe(0)
  expect((await runProgram(bin('tbot'), ['keypair', 'create', `--storage=${storage}`])).stdout).toBe(publicKey)
  await saveToken('named', 'bound_keypair', { onboarding: { initial_public_key: publicKey } })
  for (let run = 0; run < 2; run++) {
    const ended = await once('named', 'bound_keypair')
    expect([ended.code, ended.stderr]).toEqual([0, expect.stringContaining(`"generation":${run + 1}`)])
  }
  const stranger = await once('named', 'bound_keypair', [`--storage=${join(home.path, 'stranger')}`])
  expect([stranger.code, stranger.stderr]).toEqual([5, expect.stringContaining('the join was refused')])
}, 60_000)

test('a bot whose platform vouches for it joins anew each time; the wrong audience does not', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] })
  await saveToken('gl', 'gitlab', { domain: 'git.example', static_jwks: jwks, allow: [{ project_path: 'acme/app' }] })
  const idToken = (audience: string): Promise<string> =>
    new SignJWT({ project_path: 'acme/app', sub: 'project_path:acme/app:ref_type:branch:ref:main' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setIssuer('https://git.example')
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(privateKey)
  const missing = await once('gl', 'gitlab')
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('the variable TBOT_GITLAB_JWT holds no ID token')])
  const wrong = await once('gl', 'gitlab', [], { TBOT_GITLAB_JWT: await idToken('another-cluster') })
  expect([wrong.code, wrong.stderr]).toEqual([5, expect.stringContaining('the join was refused')])
  for (let run = 0; run < 2; run++) {
    const ended = await once('gl', 'gitlab', [], { TBOT_GITLAB_JWT: await idToken('test') })
    expect([ended.code, ended.stderr]).toEqual([0, expect.stringContaining('"bot":"bot-delegated"')])
  }
  const identity = parseIdentityFile(await readFile(join(home.path, 'gl-out', 'identity'), 'utf8'))
  expect(identity.authorityPems).toHaveLength(1)
  // Kubernetes: the token of the pod is a file.
  await saveToken('k8s', 'kubernetes', { type: 'static_jwks', static_jwks: { jwks }, allow: [{ service_account: 'prod:runner' }] })
  const config = join(home.path, 'k8s.yaml')
  const token = join(home.path, 'pod-token')
  await writeFile(token, 'nonsense')
  await writeFile(
    config,
    `proxy_server: 127.0.0.1:${cluster.running.address.port}
onboarding: {token: k8s, join_method: kubernetes, kubernetes: {token_path: ${token}}}
storage: {type: memory}
services: [{type: identity, destination: {type: directory, path: ${join(home.path, 'k8s-out')}}}]
oneshot: true
`,
  )
  expect((await runProgram(bin('tbot'), ['start', '-c', config])).code).toBe(5)
}, 60_000)

test('an access token for one server, by the key of the bot; a client that does not know the key gets none', async () => {
  await cluster.saveStdioApp('tools', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')], { env: 'dev' })
  const [storage, out] = [join(home.path, 'oauth'), join(home.path, 'oauth-out')]
  const { stdout: jwk } = await runProgram(bin('tbot'), ['keypair', 'create', `--storage=${storage}`, '--format=jwk'])
  const saveClient = (name: string, key: unknown): Promise<void> => {
    const how = { grant_types: ['client_credentials'], token_endpoint_auth_method: 'private_key_jwt' }
    const spec = { ...how, bot: 'delegated', jwks: { keys: [key] } }
    return cluster.save({ kind: 'oauth_client', version: 'v1', metadata: { name }, spec })
  }
  await saveClient('known', JSON.parse(jwk))
  await saveClient('stranger', { ...(await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)), alg: 'ES256' })
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'for-oauth' }, spec: { roles: ['Bot'], bot_name: 'delegated' } })
  const write = async (client: string): Promise<string> => {
    const service = `{type: oauth-token, client_id: ${client}, audience: "${cluster.mcpUrl('tools').href}", destination: {type: directory, path: ${out}}}`
    const head = `proxy_server: 127.0.0.1:${cluster.running.address.port}\nonboarding: {token: for-oauth}\noneshot: true\n`
    await writeFile(join(home.path, 'oauth.yaml'), `${head}storage: {type: directory, path: ${storage}}\nservices: [${service}]\n`)
    return join(home.path, 'oauth.yaml')
  }
  const refused = await runProgram(bin('tbot'), ['start', '-c', await write('stranger')])
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('oauth-token-1: no access token for the client stranger')])
  const ended = await runProgram(bin('tbot'), ['start', '-c', await write('known')])
  expect(ended.code).toBe(0)
  const token = await readFile(join(out, 'token'), 'utf8')
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: {} } }
  const answer = await fetch(cluster.mcpUrl('tools'), {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify(body),
  })
  expect(answer.status).not.toBe(401)
  const wrong = await fetch(cluster.mcpUrl('tools'), { method: 'POST', headers: { authorization: `Bearer ${token}x` }, body: '{}' })
  expect(wrong.status).toBe(401)
}, 60_000)
