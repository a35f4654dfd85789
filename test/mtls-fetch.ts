import { Agent, request } from 'undici'
import type { IdentityFile } from '../src/ca/identity-file.ts'

/** As `fetch`, over TLS with a certificate: what clients need who bring assertions, which are bound to theirs. */
export function fetchWith({ privateKeyPem: key, certificatePem: cert, authorityPems: ca }: IdentityFile): typeof fetch {
  const dispatcher = new Agent({ connect: { key, cert, ca, ALPNProtocols: ['http/1.1'] } })
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    url.protocol = 'https:'
    const answer = await request(url, {
      dispatcher,
      method: init.method === 'DELETE' ? 'DELETE' : init.method === 'GET' ? 'GET' : 'POST',
      headers: Object.fromEntries(new Headers(init.headers)),
      body: typeof init.body === 'string' ? init.body : null,
      signal: init.signal ?? null,
    })
    const headers = Object.entries(answer.headers).map(([name, value]): [string, string] => [name, String(value)])
    const body = await answer.body.text()
    return new Response(body === '' ? null : body, { status: answer.statusCode, headers })
  }
}
