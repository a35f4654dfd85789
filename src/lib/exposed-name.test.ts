import fc from 'fast-check'
import { expect, test } from 'vitest'
import { foldName, isExposedName, isNameable, proposeNames } from './exposed-name.ts'

test.each([
  ['nothing', ''],
  ['more than 1 KiB', 'é'.repeat(513)],
  ['half a character', 'a\ud800'],
  ['a NUL', 'a\0b'],
])('%s gets no name', (_, original) => {
  expect(isNameable(original)).toBe(false)
})

test('a name of 1 KiB gets one', () => {
  expect(isNameable('é'.repeat(512))).toBe(true)
})

test.each(['', 'a b', 'a.b', 'ä', 'a/b', 'x'.repeat(49), 'search_tools', 'Search-Tools', 'call_tool', 'CALL_tool'])(
  '%j is no exposed name',
  (name) => {
    expect(isExposedName(name)).toBe(false)
  },
)

test.each([
  ['github', 'create_issue', 'github_create_issue'],
  ['my-db', 'run-query', 'my-db_run-query'],
  ['s', 'x'.repeat(46), `s_${'x'.repeat(46)}`],
])('the tool of %s called %s is %s', (server, original, exposed) => {
  expect(proposeNames(server, original)[0]).toBe(exposed)
})

test.each([
  ['a character that is not legal', 'github', 'repo.get', 'github_repo_get_v5kyqy'],
  ['a server that is not legal', 'my.db', 'query', 'my_db_query_t5mrv7'],
  ['too many characters', 's', 'x'.repeat(47), `s_${'x'.repeat(39)}_ao2wch`],
  ['a character outside the basic plane', 's', '🙂', 's___p4xzpy'],
  ['a name of the gateway', 'search', 'tools', 'search_tools_mvlk62'],
])('%s brings a hash', (_, server, original, exposed) => {
  expect(proposeNames(server, original)[0]).toBe(exposed)
})

test('whatever servers call their tools, the names are legal, short, stable, and end in ones that differ', () => {
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.stringMatching(/^[a-z._-]{1,60}$/))
  fc.assert(
    fc.property(text, text, text, text, (server, original, otherServer, otherOriginal) => {
      const names = proposeNames(server, original)
      expect(names.length).toBeGreaterThanOrEqual(3)
      expect(names.every(isExposedName)).toBe(true)
      expect(new Set(names.map(foldName)).size).toBe(names.length)
      expect(proposeNames(server, original)).toEqual(names)
      if (server.includes('\0') || otherServer.includes('\0') || (server === otherServer && original === otherOriginal)) return
      expect(foldName(names.at(-1) ?? '')).not.toBe(foldName(proposeNames(otherServer, otherOriginal).at(-1) ?? ''))
    }),
  )
})
