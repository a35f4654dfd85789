import { expect, test } from 'vitest'
import { accessOf, all, role } from './check.fixture.ts'

test.each([
  'file:///srv/public/../private/key',
  'file:///srv/public/%2e%2e/private/key',
  'file:///srv/public/%252e%252e/private/key',
  'file:///srv/public/.%2E/private/key',
  'file:///srv/public/..%2fprivate/key',
  'file:///srv/public/..\\private\\key',
  'file:///srv/public/a/../../private/key',
  'file:///srv/public/.\t./private/key',
  'file:///srv/public/..',
  'file:///srv/public/%3f/../../private',
  'file:///srv/public/..?',
  'file:///srv/public/..?a/b',
  'file:///srv/public/a/../..#b',
  'file:///srv/public/..\u0001',
])('a resource is not granted by a pattern that it leaves: %s', (uri) => {
  const access = accessOf([role('a', { allow: { ...all, mcp: { resources: ['file:///srv/public/*'] } } })])
  expect(access.check('resource', uri)).toMatchObject({ allow: false, kind: 'no_resource' })
})

test.each(['docs://public/../secret', 'docs://public/%2e%2e/secret', 'docs://public/..', 'docs:public/../secret'])(
  'nor where what looks like a host is part of the path: %s',
  (uri) => {
    const access = accessOf([role('a', { allow: { ...all, mcp: { resources: ['docs://public/*', 'docs:public/*'] } } })])
    expect(access.check('resource', uri).allow).toBe(false)
  },
)

test.each([
  'file:///srv/public/a',
  'file:///srv/public/a/../b',
  'file:///srv/public/./b',
  'file:///srv/public/...',
  'file:///srv/public/..a/b..',
  'file:///srv/public/100%25',
  'file:///srv/public/%zz%ff',
  'file:///srv/public/{+path}',
  'file:///srv/public/ü b',
])('what stays within it is: %s', (uri) => {
  const access = accessOf([role('a', { allow: { ...all, mcp: { resources: ['file:///srv/public/*'] } } })])
  expect(access.check('resource', uri).allow).toBe(true)
})

test.each([
  'file:///srv/private/key',
  'file:///srv/public/../private/key',
  'FILE:///srv/private/key',
  'file:///srv/%70rivate/key',
  'file:///srv/%2570rivate/key',
  'file:///srv//private/key',
  'file:////srv/private/key',
  'file:/srv/private/key',
  'file://localhost/srv/private/key',
  'file:\\\\\\srv\\private\\key',
  ' file:///srv/pri\nvate/key',
])('what is denied is so however it is written: %s', (uri) => {
  const roles = [role('a', { allow: all }), role('b', { deny: { mcp: { resources: ['file:///srv/private/*'] } } })]
  expect(accessOf(roles).check('resource', uri)).toMatchObject({ allow: false, kind: 'deny_rule', by: 'b' })
})

test.each([
  'file:///srv/key?',
  'file:///srv/key#part',
  'file:///srv/key?a=1#part',
  'file:///srv/key/',
  'file:///srv/a/../key?a/b',
  'file:///srv/%6bey%23',
  'file:///srv/key\u0000',
])('a resource that is denied by its name is so with what servers leave out of a URI: %s', (uri) => {
  const roles = [role('a', { allow: all }), role('b', { deny: { mcp: { resources: ['file:///srv/key', 'docs://a?n=1'] } } })]
  const access = accessOf(roles)
  expect(access.check('resource', uri)).toMatchObject({ allow: false, kind: 'deny_rule', by: 'b' })
  expect(access.check('resource', 'docs://a?n=1#part').allow).toBe(false)
  for (const other of ['file:///srv/keys', 'file:///srv/key/a', 'file:///srv/a?/key', 'docs://a', 'docs://a?n=2'])
    expect(access.check('resource', other).allow, other).toBe(true)
})

test('patterns are asked about the URI as it is, where it leads nowhere else', () => {
  const access = accessOf([role('a', { allow: { ...all, mcp: { resources: ['Docs://A%20B/*'] } } })])
  expect(access.check('resource', 'Docs://A%20B/x').allow).toBe(true)
  expect(access.check('resource', 'docs://a b/x').allow).toBe(false)
})

test('one that is too long to be judged is refused where patterns speak of it', () => {
  const roles = [role('a', { allow: { ...all, mcp: { resources: ['*'] } } }), role('b', { deny: { mcp: { resources: ['x:*'] } } })]
  for (const piece of ['../', '%2e', '%25', '/', '\\', '%ff', 'a:', '//', '%252e%252e%252f']) {
    expect(accessOf(roles).check('resource', `y://${piece.repeat(1000)}`).allow).toBe(true)
    expect(accessOf(roles).check('resource', `y://z${piece.repeat(20_000)}`).allow).toBe(false)
  }
  expect(accessOf(roles).check('resource', `y://z/${'a/'.repeat(20_000)}`).allow).toBe(true)
  expect(accessOf([role('a', { allow: all })]).check('resource', `y://z/${'../'.repeat(20_000)}`).allow).toBe(true)
})

test.each([
  ['file://localhost/private', 'file:///private'],
  ['http://a:80/x', 'http://a/x'],
  ['http://127.1/x', 'http://127.0.0.1/x'],
  ['http:/a/x', 'http://a/x'],
  ['HTTP://A/x', 'http://a/x'],
])('%s is read as %s too, by some', (uri, other) => {
  const roles = [role('a', { allow: all }), role('b', { deny: { mcp: { resources: [other] } } })]
  expect(accessOf(roles).check('resource', uri)).toMatchObject({ allow: false, by: 'b' })
})
