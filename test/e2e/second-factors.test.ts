import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { TOTP } from 'otpauth'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { main } from '../../src/cli/tsh/main.ts'
import type { Identity } from '../../src/resources/identity.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'
import { bin, runProgram, temporaryDirectory } from '../programs.ts'
import { eventually } from '../wait.ts'

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveRole('dev', {})
  await cluster.saveUser('ana', ['dev'])
  await cluster.saveUser('bob', ['dev'])
})
afterAll(() => cluster.close())

const ANA: Identity = {
  kind: 'user',
  name: 'ana',
  roles: ['dev'],
  traits: {},
  credential: 'certificate',
  credentialId: '01',
  expiresAt: Date.now() + 3_600_000,
  mfaVerified: false,
}

/** tsh of somebody who is signed in; `type` answers its next question. */
function tsh(argv: string[], as: Identity = ANA) {
  const stdin = new PassThrough()
  let [out, err] = ['', '']
  const collect = (keep: (text: string) => void) => {
    const stream = new PassThrough()
    stream.setEncoding('utf8').on('data', keep)
    return stream
  }
  const stdout = collect((text) => (out += text))
  const stderr = collect((text) => (err += text))
  const ended = main(argv, { env: {}, stdin, stdout, stderr, isTTY: false, carrier: cluster.running.auth.carrier(as) })
  return {
    type: (line: string) => stdin.write(`${line}\n`),
    offered: () => eventually('a secret', () => /type its secret there: ([A-Z2-7]+)/.exec(err)?.[1]),
    ended: async () => ({ code: await ended, out, err }),
  }
}

async function list(as: Identity = ANA): Promise<Record<string, unknown>[]> {
  const { out } = await tsh(['mfa', 'ls', '--format=json'], as).ended()
  return JSON.parse(out)
}

async function addApp(name: string, proof: string): Promise<{ totp: TOTP; code: number; err: string }> {
  const adding = tsh(['mfa', 'add', '--type=TOTP', `--name=${name}`])
  adding.type(proof)
  const totp = new TOTP({ secret: await adding.offered() })
  adding.type(totp.generate())
  const { code, err } = await adding.ended()
  return { totp, code, err }
}

test('tsh mfa: an app is added with the password, another with a code of the first, and removed again', async () => {
  expect((await tsh(['mfa', 'ls']).ended()).err).toContain('You have no second factor')
  const wrong = await addApp('phone', 'not my password')
  expect([wrong.code, wrong.err]).toEqual([3, expect.stringContaining('wrong password')])
  expect(await list()).toEqual([])
  const { totp, code } = await addApp('phone', PASSWORD)
  expect(code).toBe(0)
  expect(await list()).toMatchObject([{ name: 'phone', type: 'TOTP', passwordless: false, last_used: null }])

  // The password alone changes nothing any more, nor does the code that was used to add it.
  expect((await addApp('mine', PASSWORD)).code).toBe(3)
  expect((await addApp('mine', totp.generate())).code).toBe(3)
  const second = await addApp('tablet', totp.generate({ timestamp: Date.now() + 30_000 }))
  expect([second.code, (await list()).map(({ name }) => name)]).toEqual([0, ['phone', 'tablet']])

  const removing = tsh(['mfa', 'rm', 'phone'])
  removing.type(second.totp.generate({ timestamp: Date.now() + 30_000 }))
  expect(await removing.ended()).toMatchObject({ code: 0, out: 'Second factor "phone" removed.\n' })
  expect((await list()).map(({ name }) => name)).toEqual(['tablet'])
  expect(await cluster.events({ type: 'mfa.add' })).toMatchObject([
    { code: 'T1006I', user: 'ana', mfa_device_name: 'phone', mfa_device_type: 'TOTP' },
    { code: 'T1006I', user: 'ana', mfa_device_name: 'tablet' },
  ])
  expect(await cluster.events({ type: 'mfa.delete' })).toMatchObject([{ code: 'T1007I', mfa_device_name: 'phone' }])
  const proofs = await cluster.events({ type: 'mfa_auth_challenge.validate' })
  expect(proofs.map(({ code: word }) => word)).toEqual(['T1016W', 'T1016I', 'T1016W', 'T1016W', 'T1016I', 'T1016I'])
})

test('what acts for a person changes no second factor; passkeys are made in the browser', async () => {
  for (const credential of ['api_token', 'oauth', 'jwt'] as const) {
    const { code, err } = await tsh(['mfa', 'ls'], { ...ANA, credential }).ended()
    expect([code, err]).toEqual([5, expect.stringContaining('tsh login')])
  }
  const page = await tsh(['mfa', 'add', '--type=WEBAUTHN', '--browser=none']).ended()
  expect(page.err).toContain(`http://localhost:${new URL(cluster.url).port}/web/account`)
  expect(await tsh(['mfa', 'add', '--type=SMS']).ended()).toMatchObject({
    code: 2,
    err: expect.stringContaining('--type is TOTP or WEBAUTHN'),
  })
  expect(await tsh(['mfa', 'rm', 'nothing']).ended()).toMatchObject({ err: expect.stringContaining('no second factor "nothing"') })
})

test('the page asks for the code in a second step, and for a sign-in before a change', async () => {
  const browser = new PlainBrowser()
  const account = new URL('/web/account', cluster.url)
  await browser.submit(await browser.open(account), { user: 'bob', password: PASSWORD })
  const offer = await browser.open(new URL('/web/account/app', cluster.url))
  const totp = new TOTP({ secret: /<code>([A-Z2-7]+)/.exec(offer.text)?.[1] ?? '' })
  expect((await browser.submit(offer, { name: 'phone', totp: '000000' })).text).toContain('does not fit the secret')
  const added = await browser.submit(offer, { name: '<b>phone</b>', totp: totp.generate() })
  expect(added.text).toContain('&lt;b&gt;phone&lt;/b&gt;')
  // Signed in with a password alone: from now on that is not enough for a change.
  expect(added.text).toContain('Sign in again to change these')
  expect((await browser.open(new URL('/web/account/app', cluster.url))).url).toBe(`${cluster.url}/web/account?again=yes`)

  const again = new PlainBrowser()
  const second = await again.submit(await again.open(account), { user: 'bob', password: PASSWORD })
  expect(second.text).toContain('One more step')
  const refused = await again.submit(second, { totp: totp.generate() })
  expect([refused.status, refused.text.includes('One more step')]).toEqual([401, true])
  const done = await again.submit(refused, { totp: totp.generate({ timestamp: Date.now() + 30_000 }) })
  expect(done.text).toContain('Remove &lt;b&gt;phone&lt;/b&gt;')
  expect(done.text.match(/<h3>This browser/g)).toHaveLength(1)
  expect(done.text.match(/<h3>Another browser/g)).toHaveLength(1)
})

test('what a preference asks for that is not done here is refused, with line and column', async () => {
  const folder = await temporaryDirectory()
  const file = join(folder.path, 'cap.yaml')
  const text = `kind: cluster_auth_preference
version: v2
metadata: {name: cluster-auth-preference}
spec:
  second_factors: [webauthn, sms]
  webauthn: {attestation_allowed_cas: [ca.pem]}
  device_trust: {mode: required}
`
  await writeFile(file, text)
  const answer = await runProgram(bin('tctl'), ['--data-dir', cluster.dataDirectory, 'create', '-f', file])
  expect(answer.code).toBe(2)
  for (const place of ['5:30 spec.second_factors[1]: must be', '6:39 spec.webauthn.attestation_allowed_cas', '7:17 spec.device_trust'])
    expect(answer.stderr).toContain(`${file}:${place}`)
  await folder.dispose()
})
