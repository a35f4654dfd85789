import { createServer } from 'node:https'
import type { Server } from 'node:https'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAuthority } from '../../ca/authority.ts'
import { issueCertificate } from '../../ca/certificate.ts'
import { generateKeyPair, renderPrivateKey } from '../../ca/keys.ts'
import { scratch } from './bot.fixture.ts'
import { createKubernetesSecret } from './kubernetes-secret.ts'

/** As much of an API server as knows secrets: they are replaced by an apply patch, key by key, and only for who has the token. */
class FakeApiServer {
  secrets = new Map<string, Record<string, string>>()
  calls: string[] = []
  allowed = 'Bearer pod-token'
  #server: Server | undefined

  async start(accountDirectory: string): Promise<number> {
    const authority = createAuthority('host', 'kubernetes', Date.now())
    const keys = await generateKeyPair()
    const cert = issueCertificate({
      subject: { commonName: 'kubernetes' },
      publicKey: keys.publicKey,
      issuer: authority,
      notBefore: Date.now() - 60_000,
      notAfter: Date.now() + 3_600_000,
      usage: 'server',
      names: { ip: ['127.0.0.1'] },
      serial: new Uint8Array(16).fill(1),
    })
    await mkdir(accountDirectory, { recursive: true })
    await writeFile(join(accountDirectory, 'ca.crt'), authority.certificatePem)
    await writeFile(join(accountDirectory, 'token'), 'pod-token\n')
    await writeFile(join(accountDirectory, 'namespace'), 'agents')
    const server = createServer({ key: renderPrivateKey(keys.privateKey), cert }, (request, response) => {
      let body = ''
      request.on('data', (piece: Buffer) => (body += piece.toString()))
      request.on('end', () => {
        const { status, answer } = this.#answer(request.method ?? '', request.url ?? '', request.headers, body)
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
      })
    })
    this.#server = server
    await new Promise<void>((fulfil) => server.listen(0, '127.0.0.1', fulfil))
    const address = server.address()
    return typeof address === 'object' && address ? address.port : 0
  }

  stop(): void {
    this.#server?.closeAllConnections()
    this.#server?.close()
  }

  #answer(method: string, url: string, headers: NodeJS.Dict<string | string[]>, body: string): { status: number; answer: unknown } {
    this.calls.push(`${method} ${url}`)
    if (headers['authorization'] !== this.allowed) return { status: 403, answer: { kind: 'Status', message: 'secrets is forbidden' } }
    const [path = ''] = url.split('?')
    if (method === 'GET') {
      const data = this.secrets.get(path)
      return data ? { status: 200, answer: { kind: 'Secret', data } } : { status: 404, answer: { kind: 'Status', message: 'not found' } }
    }
    if (headers['content-type'] !== 'application/apply-patch+yaml') return { status: 415, answer: {} }
    const sent: unknown = JSON.parse(body)
    const data: unknown = typeof sent === 'object' && sent !== null && 'data' in sent ? sent.data : {}
    this.secrets.set(
      path,
      Object.fromEntries(Object.entries({ ...this.secrets.get(path), ...Object(data) }).map(([k, v]) => [k, String(v)])),
    )
    return { status: 200, answer: { kind: 'Secret' } }
  }
}

let home: Awaited<ReturnType<typeof scratch>>
let server: FakeApiServer
let port = 0
beforeEach(async () => {
  home = await scratch()
  server = new FakeApiServer()
  port = await server.start(join(home.path, 'account'))
})
afterEach(async () => {
  server.stop()
  await home.dispose()
})

const config = { type: 'kubernetes_secret' as const, name: 'mcp-identity' }
const open = (more: { namespace?: string } = {}, api = { host: '127.0.0.1', port, accountDirectory: join(home.path, 'account') }) =>
  createKubernetesSecret({ ...config, ...more }, api)

test('outside of a pod, without the right, and without a server: each says what is wrong', async () => {
  await expect(createKubernetesSecret(config, undefined).check()).rejects.toThrow('KUBERNETES_SERVICE_HOST is not set')
  server.allowed = 'Bearer another'
  await expect(open().write(new Map([['identity', 'i']]))).rejects.toThrow(
    'kubernetes_secret mcp-identity: HTTP 403 (secrets is forbidden): let the service account get, create and patch this secret',
  )
  expect(server.secrets.size).toBe(0)
  server.stop()
  await expect(open().check()).rejects.toMatchObject({ code: 'unavailable' })
})

test('all files are one apply, in the namespace of the pod or the one that is named', async () => {
  const destination = open()
  await destination.check()
  expect(await destination.read('key')).toBeUndefined()
  await destination.write(
    new Map([
      ['key', 'k'],
      ['identity', 'i'],
    ]),
  )
  expect(await destination.read('key')).toBe('k')
  await open({ namespace: 'other' }).write(new Map([['identity', 'i2']]))
  expect(server.calls.filter((call) => call.startsWith('PATCH'))).toEqual([
    'PATCH /api/v1/namespaces/agents/secrets/mcp-identity?fieldManager=sallyport-tbot&force=true',
    'PATCH /api/v1/namespaces/other/secrets/mcp-identity?fieldManager=sallyport-tbot&force=true',
  ])
  expect(server.secrets.get('/api/v1/namespaces/agents/secrets/mcp-identity')).toEqual({ key: 'aw==', identity: 'aQ==' })
})
