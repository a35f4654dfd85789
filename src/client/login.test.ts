import { request } from 'node:http'
import { expect, test } from 'vitest'
import type { Carrier } from './call.ts'
import { signInWithBrowser } from './login.ts'
import { startCallbackListener } from './login-callback.ts'
import type { TrustedProxy } from './trust.ts'

test.each([
  'file:///etc/passwd',
  'https://evil.example/web/login',
  '//evil.example/web/login',
  'vscode://evil/install',
  'https://user@proxy.example:3080/',
  'http://proxy.example:3080/web/login',
])('a proxy cannot make tsh open %s', async (path) => {
  const opened: string[] = []
  const signIn = signInWithBrowser(proxyThatNames(path), { timeoutMs: 5000 }, (url) => opened.push(url))
  await expect(signIn).rejects.toThrow('names a sign-in page that is not its own')
  expect(opened).toEqual([])
})

test('a request that is no path does not end the sign-in', async () => {
  const callback = await startCallbackListener({ timeoutMs: 5000 })
  try {
    const { port } = new URL(callback.redirectUri)
    expect(await statusOf(port, '//')).toBe(404)
    expect(await statusOf(port, '/callback?login_id=other&code=c')).toBe(400)
    const code = callback.waitForCode('mine')
    expect(await statusOf(port, '/callback?login_id=other&code=c')).toBe(400)
    expect(await statusOf(port, '/callback?login_id=mine&code=c')).toBe(200)
    expect(await code).toBe('c')
  } finally {
    callback.close()
  }
})

function proxyThatNames(path: string): TrustedProxy {
  const carrier: Carrier = () => Promise.resolve({ status: 200, body: JSON.stringify({ login_id: 'l', path }) })
  const cluster = {
    server_version: '1',
    min_client_version: '1',
    cluster_name: 'c',
    auth: { type: 'local', second_factor: 'off' },
    host_authorities: [],
    ca_pins: [],
  }
  return { proxy: { host: 'proxy.example', port: 3080 }, cluster, authorities: [], how: 'known', carrier, close: () => {} }
}

function statusOf(port: string, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, agent: false }, (answer) => resolve(answer.resume().statusCode))
    sent.on('error', reject).end()
  })
}
