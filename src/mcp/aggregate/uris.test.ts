import fc from 'fast-check'
import { expect, test } from 'vitest'
import { exposeId, exposeUri, findId, findUri } from './uris.ts'

test.each([
  ['file:///x'],
  ['sallyport://'],
  ['sallyport://a'],
  ['sallyport://a/'],
  ['sallyport:///x'],
  ['sallyport://%zz/x'],
  ['sallyport://%61/x'],
  ['SALLYPORT://a/x'],
  ['sallyport://a/ui://x'],
  ['ui://a'],
  ['ui://a/'],
  [''],
])('%j stands for nothing', (uri) => {
  expect(findUri(uri)).toBeUndefined()
})

test.each([
  ['a', 'file:///x y', 'sallyport://a/file:///x y'],
  ['a/b', 'note://1', 'sallyport://a%2Fb/note://1'],
  ['a', 'ui://page/1?x', 'ui://a/page/1?x'],
  ['a', 'sallyport://b/file:///x', 'sallyport://a/sallyport://b/file:///x'],
  ['a', 'db://{table}/{+path}{?q*}', 'sallyport://a/db://{table}/{+path}{?q*}'],
])('the resource %j %j is %j here', (server, original, exposed) => {
  expect(exposeUri(server, original)).toBe(exposed)
  expect(findUri(exposed)).toEqual({ server, original })
})

test('every URI and id comes back as it was, to its server', () => {
  const name = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => text.isWellFormed())
  const text = fc.oneof(
    fc.string({ minLength: 1 }),
    fc.string({ minLength: 1 }).map((rest) => `ui://${rest}`),
    fc.webUrl(),
  )
  fc.assert(
    fc.property(name, text, (server, original) => {
      expect(findUri(exposeUri(server, original))).toEqual({ server, original })
      expect(findId(exposeId(server, original))).toEqual({ server, original })
    }),
  )
})

test.each([[''], ['a'], ['/x'], ['a/'], ['%zz/x'], ['%61/x']])('the id %j stands for nothing', (id) => {
  expect(findId(id)).toBeUndefined()
})
