import { expect, it } from 'vitest'
import { checkHost, checkOrigin, isLoopbackAddress, isLoopbackHost } from './loopback.ts'

it.each([
  '10.0.0.1',
  '128.0.0.1',
  '0.0.0.0',
  '::',
  '::2',
  'fe80::1',
  '::ffff:10.0.0.1',
  '::ffff:8000:1',
  'localhost',
  '127.1',
  '127.0.0.1.evil.com',
  '2130706433',
  '',
  '[::1]',
])('%j is no loopback address', (ip) => expect(isLoopbackAddress(ip)).toBe(false))

it.each(['127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1', '::FFFF:127.9.9.9'])(
  '%j is a loopback address',
  (ip) => expect(isLoopbackAddress(ip)).toBe(true),
)

it.each(['example.com', 'localhost.example.com', 'notlocalhost', '127.0.0.1.nip.io', '', '.', '10.0.0.1', '[::2]'])(
  '%j is no loopback host',
  (name) => expect(isLoopbackHost(name)).toBe(false),
)

it.each(['localhost', 'LOCALHOST', 'localhost.', 'app.localhost', '127.0.0.1', '::1', '[::1]'])('%j is a loopback host', (name) =>
  expect(isLoopbackHost(name)).toBe(true),
)

it.each([
  [undefined, ['localhost']],
  ['', ['localhost']],
  ['evil.com', ['localhost', 'proxy.example.com']],
  ['evil.com:3080', ['localhost']],
  ['localhost', []],
  ['localhost', ['proxy.example.com']],
  ['proxy.example.com:9', ['proxy.example.com:3080']],
  ['proxy.example.com', ['proxy.example.com:3080']],
  ['user@localhost', ['localhost']],
  ['localhost/x', ['localhost']],
  ['localhost:1:2', ['localhost']],
  ['::1', ['localhost']],
  ['[zz]', ['localhost']],
  ['localhost evil.com', ['localhost']],
  ['proxy.example.com', ['*']],
])('host %j is refused with %j', (header, allowed) => expect(checkHost(header, allowed)).toBe(false))

it.each([
  ['localhost:3080', ['localhost']],
  ['127.0.0.1:3080', ['localhost']],
  ['[::1]:3080', ['localhost']],
  ['[::1]', ['localhost:443']],
  ['Proxy.Example.COM:3080', ['proxy.example.com']],
  ['proxy.example.com.', ['proxy.example.com']],
  ['proxy.example.com', ['proxy.example.com:443']],
  ['10.0.0.5:3080', ['10.0.0.5:3080']],
])('host %j is accepted with %j', (header, allowed) => expect(checkHost(header, allowed)).toBe(true))

it.each([
  ['null', ['localhost']],
  ['', ['localhost']],
  ['https://evil.com', ['proxy.example.com', 'localhost', 'https://proxy.example.com']],
  ['http://proxy.example.com', ['https://proxy.example.com']],
  ['https://proxy.example.com:8443', ['https://proxy.example.com']],
  ['https://proxy.example.com:8443', ['proxy.example.com:443']],
  ['http://localhost:3000', ['proxy.example.com']],
  ['file:///etc', ['localhost']],
  ['https://localhost@evil.com', ['localhost']],
  ['https://evil.com@localhost', ['localhost']],
  ['https://proxy.example.com/path', ['proxy.example.com']],
  ['chrome-extension://localhost', ['localhost']],
])('origin %j is refused with %j', (header, allowed) => expect(checkOrigin(header, allowed)).toBe(false))

it.each([
  [undefined, []],
  ['http://localhost:6274', ['localhost']],
  ['http://127.0.0.1:6274', ['localhost']],
  ['http://[::1]:6274', ['localhost']],
  ['https://proxy.example.com:3080', ['https://proxy.example.com:3080']],
  ['https://proxy.example.com', ['https://proxy.example.com:443']],
  ['https://proxy.example.com', ['proxy.example.com:443']],
  ['https://proxy.example.com:8443', ['proxy.example.com']],
])('origin %j is accepted with %j', (header, allowed) => expect(checkOrigin(header, allowed)).toBe(true))
