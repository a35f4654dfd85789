import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { createServer } from 'node:https'
import type { Server } from 'node:https'
import { X509Certificate, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createAuthority, pinOf } from '../ca/authority.ts'
import type { Authority } from '../ca/authority.ts'
import { issueCertificate } from '../ca/certificate.ts'
import { issueIdentityCertificate } from '../ca/identity-certificate.ts'
import { renderIdentityFile } from '../ca/identity-file.ts'
import { generateKeyPair, renderPrivateKey } from '../ca/keys.ts'
import { fetchStatus } from './admin.ts'
import { openConnection } from './credentials.ts'
import { saveProfile } from './profile.ts'
import { establishTrust } from './trust.ts'

const NOW = Date.now()
const closers: (() => Promise<unknown>)[] = []
const [host, user, other] = [createAuthority('host', 'c', NOW), createAuthority('user', 'c', NOW), createAuthority('host', 'c', NOW)]
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trust-test-'))
})
afterAll(async () => await rm(folder, { recursive: true }))
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

test('a pin that no CA has is refused, with those it has', async () => {
  const proxy = await start(host)
  const pin = `sha256:${'0'.repeat(64)}`
  await expect(establishTrust({ proxy, known: [], caPins: [pin], insecure: false })).rejects.toMatchObject({
    message: expect.stringContaining(`has the pin ${pin}\n  it has: ${pinOf(host.certificatePem)}`),
    details: { fix: [expect.stringContaining('tctl status')] },
  })
  await expect(establishTrust({ proxy, known: [], caPins: ['sha256:x'], insecure: false })).rejects.toThrow('is not a CA pin')
})

test('a server that only claims to have the pinned CA is refused', async () => {
  const proxy = await start(other, host)
  await expect(establishTrust({ proxy, known: [], caPins: [pinOf(host.certificatePem)], insecure: false })).rejects.toThrow(
    'not from a trusted authority',
  )
})

test('a certificate of a public CA is as good beside the pin, where it names the pinned CA', async () => {
  const proxy = await start(other, host)
  const before = getCACertificates('default')
  setDefaultCACertificates([...before, other.certificatePem])
  try {
    const trusted = await establishTrust({ proxy, known: [], caPins: [pinOf(host.certificatePem)], insecure: false })
    trusted.close()
    expect(trusted.authorities).toEqual([host.certificatePem])
  } finally {
    setDefaultCACertificates(before)
  }
})

test('a proxy elsewhere that nobody vouches for is refused, with what to do', async () => {
  const { port } = await start(host)
  // An address of this machine, spelt as no list of loopback addresses has it.
  const proxy = { host: '127.1', port }
  const remedy = (pin: string): string => `set ca_pin: ${pin}`
  await expect(establishTrust({ proxy, known: [], caPins: [], insecure: false, remedy })).rejects.toThrow(
    'Ask its administrator for the pin (tctl status shows it) and set ca_pin: sha256:…',
  )
})

test('a changed CA is refused, showing both pins', async () => {
  const proxy = await start(other)
  await expect(establishTrust({ proxy, known: [host.certificatePem], caPins: [], insecure: false })).rejects.toThrow(
    `was: ${pinOf(host.certificatePem)}\n  now: ${pinOf(other.certificatePem)}`,
  )
})

test('a certificate for another name is refused', async () => {
  const proxy = await start(host, host, ['elsewhere.example'])
  await expect(establishTrust({ proxy, known: [host.certificatePem], caPins: [], insecure: false })).rejects.toThrow('is for another name')
})

test('trust by pin, by what is known, on first use, and unchecked', async () => {
  const proxy = await start(host)
  const how = async (options: { known?: string[]; caPins?: string[]; insecure?: boolean }) => {
    const trusted = await establishTrust({ proxy, known: [], caPins: [], insecure: false, ...options })
    trusted.close()
    return trusted.how
  }
  expect(await how({ caPins: [pinOf(host.certificatePem)] })).toBe('pin')
  expect(await how({ known: [host.certificatePem] })).toBe('known')
  expect(await how({})).toBe('first-use')
  expect(await how({ insecure: true })).toBe('unchecked')
})

test('an expired profile says for how long and what to run; a fresh one presents its certificate', async () => {
  const proxy = await start(host)
  const address = `localhost:${proxy.port}`
  const keys = await generateKeyPair()
  const { certificatePem, expiresAt } = issueIdentityCertificate(
    user,
    'c',
    keys.publicKey,
    { kind: 'user', name: 'alice', roles: [], mfaVerified: false },
    { now: NOW, ttlMs: 600_000 },
  )
  const identity = { privateKeyPem: renderPrivateKey(keys.privateKey), certificatePem, authorityPems: [host.certificatePem] }
  const profile = { proxy: address, cluster: 'c', user: 'alice', roles: [], valid_until: new Date(expiresAt).toISOString() }
  await saveProfile(join(folder, 'home'), profile, identity)
  const env = { SALLYPORT_TSH_HOME: join(folder, 'home') }
  await expect(openConnection({ env, now: () => expiresAt + 720_000 })).rejects.toThrow(
    `your session expired 12m0s ago: run tsh login --proxy=${address} --user=alice`,
  )
  await expect(openConnection({ env, now: () => NOW, proxy: 'elsewhere:443' })).rejects.toThrow(
    `Not logged in to elsewhere:443 (signed in to: ${address})`,
  )
  const connection = await openConnection({ env, now: () => NOW })
  expect((await fetchStatus(connection.api)).cluster_name).toBe('alice')
  connection.close()
  await writeFile(join(folder, 'identity'), renderIdentityFile(identity))
  const byFile = await openConnection({ identity: folder, proxy: address, env: {}, now: () => NOW })
  expect((await fetchStatus(byFile.api)).cluster_name).toBe('alice')
  byFile.close()
})

/** A proxy with a certificate of `issuer` that says its CA is `claimed`; as its status it names the client certificate's subject. */
async function start(issuer: Authority, claimed: Authority = issuer, dns = ['localhost']): Promise<{ host: string; port: number }> {
  const keys = await generateKeyPair()
  const names = { dns, ip: dns[0] === 'localhost' ? ['127.0.0.1'] : [] }
  const cert = issueCertificate({
    subject: { commonName: 'proxy' },
    publicKey: keys.publicKey,
    issuer,
    notBefore: NOW - 60_000,
    notAfter: NOW + 600_000,
    usage: 'server',
    names,
    serial: randomBytes(16),
  })
  const options = {
    key: renderPrivateKey(keys.privateKey),
    cert,
    ca: [user.certificatePem],
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['sallyport-auth', 'http/1.1'],
  }
  const server = createServer(options, (request, response) => {
    const find = {
      server_version: '0',
      min_client_version: '0',
      cluster_name: 'c',
      auth: { type: 'local', second_factor: 'off' },
      host_authorities: [claimed.certificatePem],
      ca_pins: [],
    }
    const raw =
      'getPeerX509Certificate' in request.socket && typeof request.socket.getPeerX509Certificate === 'function'
        ? request.socket.getPeerX509Certificate()
        : undefined
    const name = raw instanceof X509Certificate ? (raw.subject.match(/CN=(.*)/)?.[1] ?? '') : ''
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify(
        request.url === '/v1/status' ? { cluster_name: name, version: '0', proxy_address: 'p:443', authorities: [], ca_pins: [] } : find,
      ),
    )
  })
  closers.push(() => close(server))
  return { host: 'localhost', port: await listen(server) }
}

function listen(server: Server): Promise<number> {
  return new Promise((fulfil) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      fulfil(typeof address === 'object' && address ? address.port : 0)
    })
  })
}

function close(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((fulfil) => server.close(() => fulfil()))
}
