import { expect, test } from 'vitest'
import { parseProxyAddress, renderProxyAddress } from './proxy-address.ts'

test.each(['', ' ', 'a b', 'host:port', 'host/path', 'user@host', 'ftp://host', 'host:99999', 'host?x'])('%j is refused', (text) => {
  expect(() => parseProxyAddress(text)).toThrow('is not a proxy address')
})

test.each([
  ['sallyport.example.com', 'sallyport.example.com:443'],
  ['sallyport.example.com:443', 'sallyport.example.com:443'],
  ['https://sallyport.example.com:8443/', 'sallyport.example.com:8443'],
  ['localhost', 'localhost:3080'],
  ['localhost:443', 'localhost:443'],
  ['127.0.0.1:3080', '127.0.0.1:3080'],
  ['[::1]:443', '[::1]:443'],
  ['[::1]', '[::1]:3080'],
])('%s means %s', (text, expected) => {
  expect(renderProxyAddress(parseProxyAddress(text))).toBe(expected)
})
