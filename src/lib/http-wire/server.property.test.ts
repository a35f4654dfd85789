import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWireServer, type WireServerFixture } from './wire-server.fixture.ts'

let f: WireServerFixture
/** What http.Server alone understood, as `method url headers body`. */
const understood: string[] = []
const oracle = createServer(listenInto(understood))
let oraclePort = 0

beforeAll(async () => {
  f = await startWireServer()
  f.server.fallback.removeAllListeners('request')
  const seen = f.served
  f.server.fallback.on('request', listenInto(seen))
  f.onExchange = ({ method, path, headers, body, answer }) => {
    seen.pop()
    seen.push(show(method, path, headers, body))
    answered += 1
    answer.head(200, {})
    answer.end()
  }
  oracle.listen(0, '127.0.0.1')
  await once(oracle, 'listening')
  // A listening TCP server has an address with a port.
  oraclePort = (oracle.address() as AddressInfo).port
})
afterAll(async () => {
  oracle.close()
  await f.close()
})

/** Requests that our own server answered: a comparison of the other with itself shows nothing. */
let answered = 0

/** In the order in which requests begin; one whose body broke off stays empty. */
function listenInto(seen: string[]): RequestListener {
  return (request, response) => {
    const place = seen.push('') - 1
    buffer(request).then(
      (body) => {
        seen[place] = show(request.method, request.url, request.headers, body)
        response.end()
      },
      () => undefined,
    )
  }
}

function show(method: string | undefined, url: string | undefined, headers: object, body: Buffer): string {
  return `${method} ${url} ${JSON.stringify(headers, Object.keys(headers).toSorted())} ${body.toString('latin1')}`
}

/** Sends pieces, ends, and waits for the end of the other side. */
async function speak(port: number, pieces: readonly Buffer[]): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => undefined)
  socket.resume()
  const over = new Promise((resolve) => socket.on('close', resolve))
  for (const piece of pieces) {
    if (socket.writable) socket.write(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await new Promise((resolve) => setImmediate(resolve))
  socket.end()
  await over
}

const line = fc.constantFrom(
  'host: localhost',
  'Host:localhost',
  'accept: a',
  'Accept: b',
  'x-a: \t b c \t',
  'X-Latin: \xe4\xf6',
  '__proto__: x',
  'constructor: y',
  'cookie: a=b',
  'connection: keep-alive',
  'connection: close',
  'connection: keep-alive, x',
  'connection: upgrade',
  'upgrade: h2c',
  'transfer-encoding: chunked',
  'Transfer-Encoding : chunked',
  'transfer-encoding: gzip, chunked',
  'content-length: 0',
  'content-length: 5',
  'Content-Length: 05',
  'content-length: 5, 5',
  'content-length:',
  'content-length: 18446744073709551617',
  'expect: 100-continue',
  ' folded',
  'no colon',
  'x: a\nsmuggled: 1',
  'x: a\rsmuggled: 1',
  'x: a\0b',
  ': empty',
)
const body = fc.constantFrom('', 'hello', '0\r\n\r\n', '5\r\nhello\r\n0\r\n\r\n', 'GET /mcp/smuggled HTTP/1.1\r\nhost: a\r\n\r\n')
const requestLine = fc.constantFrom(
  'POST /mcp HTTP/1.1',
  'POST /mcp?a=b HTTP/1.1',
  'GET /mcp HTTP/1.1',
  'DELETE /mcp/x HTTP/1.1',
  'POST /other HTTP/1.1',
  'HEAD /mcp HTTP/1.1',
  'POST /mcp HTTP/1.0',
  'POST  /mcp HTTP/1.1',
  'POST /mcp\tHTTP/1.1',
  'post /mcp HTTP/1.1',
  'POST http://a/mcp HTTP/1.1',
  '\r\nPOST /mcp HTTP/1.1',
)
const odd = fc
  .tuple(requestLine, fc.array(line, { maxLength: 5 }), fc.boolean(), body)
  .map(([first, lines, isHosted, text]) => `${[first, ...(isHosted ? ['host: a'] : []), ...lines].join('\r\n')}\r\n\r\n${text}`)
const plain = fc
  .tuple(
    fc.constantFrom('/mcp', '/mcp/a?b'),
    fc.constantFrom('', 'accept: a\r\n', 'x-a: b\r\n'),
    fc.string({ maxLength: 20, unit: 'binary-ascii' }),
  )
  .map(([path, more, text]) => `POST ${path} HTTP/1.1\r\nhost: a\r\n${more}content-length: ${text.length}\r\n\r\n${text}`)
const change = fc.record({ at: fc.nat(400), to: fc.constantFrom('\r', '\n', '\0', ' ', ':', '\t', 'x', '5', '\r\n', '\xff') })

test('whatever comes, in whatever pieces: the same requests are understood as http.Server alone understands', async () => {
  const requests = fc.array(fc.oneof({ weight: 3, arbitrary: plain }, { weight: 2, arbitrary: odd }), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(requests, fc.option(change), fc.array(fc.nat(600), { maxLength: 4 }), async (texts, changed, cuts) => {
      const whole = texts.join('')
      const text = changed && changed.at < whole.length ? whole.slice(0, changed.at) + changed.to + whole.slice(changed.at + 1) : whole
      const bytes = Buffer.from(text, 'latin1')
      const ends = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
      const pieces = ends.slice(1).map((end, n) => bytes.subarray(ends[n], end))
      understood.length = 0
      f.served.length = 0
      await Promise.all([speak(oraclePort, pieces), speak(f.port, pieces)])
      expect(f.served.filter(Boolean)).toEqual(understood.filter(Boolean))
    }),
    { numRuns: 400 },
  )
  expect(answered).toBeGreaterThan(100)
})
