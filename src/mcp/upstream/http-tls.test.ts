import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { startEchoHttp } from '../../../test/fakes/echo-http.ts'
import { call, faultOf, never, toolText } from '../../../test/fakes/outgoing.ts'
import { openAs } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createHttpUpstream } from './http.ts'
import type { UpstreamSession } from './upstream.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

async function sessionWith(url: string, spec: object): Promise<UpstreamSession> {
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'web' }, spec: { uri: `mcp+${url}`, ...spec } })
  const upstream = createHttpUpstream(app, { now: Date.now, log: silentLogger })
  opened.push(upstream)
  return upstream.open(openAs('legacy'))
}

function selfSigned(): { key: string; cert: string } | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'cert-'))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  try {
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '1',
        '-keyout',
        key,
        '-out',
        cert,
        ...subject,
      ],
      {
        stdio: 'ignore',
      },
    )
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  } catch {
    // Without openssl there is no certificate to try with.
    return undefined
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const tls = selfSigned()
if (!tls) process.stderr.write('skipped: TLS verification of HTTP upstreams, since openssl is not installed\n')

test.skipIf(!tls)('a certificate nobody vouches for is refused, unless the app says so', async () => {
  const echo = await startEchoHttp(tls ? { tls } : {})
  opened.push(echo)
  const strict = await sessionWith(echo.url, {})
  expect(await faultOf(strict.send(call('1', 'echo'), never))).toEqual({
    code: 'unavailable',
    origin: 'upstream_unreachable',
    message: 'cannot reach MCP server "web": its certificate is self-signed and not trusted',
  })
  expect(echo.seen).toEqual([])
  const lax = await sessionWith(echo.url, { insecure_skip_verify: true })
  expect(toolText(await lax.send(call('1', 'echo', { text: 'ok' }), never))).toBe('ok')
})

test.skipIf(!tls)('large answers, and connections after the first', async () => {
  const echo = await startEchoHttp(tls ? { tls } : {})
  opened.push(echo)
  const session = await sessionWith(echo.url, { insecure_skip_verify: true })
  for (let turn = 0; turn < 3; turn++) {
    const calls = [1, 2, 3].map(async (id) => {
      const reply = await session.send(call(`${id}`, 'big', { bytes: 1_000_000, chunked: id === 2 }), never)
      if (reply.kind !== 'stream') throw new Error(`expected a stream, got ${reply.kind}`)
      let length = 0
      for await (const chunk of reply.chunks) length += chunk.length
      return length
    })
    expect(await Promise.all(calls)).toEqual([1_000_073, 1_000_073, 1_000_073])
  }
})
