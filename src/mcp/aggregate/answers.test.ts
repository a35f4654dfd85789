import { expect, test } from 'vitest'
import { exposeItem, exposeNotice, exposeResponse } from './answers.ts'

const response = (result: string) => Buffer.from(`{"jsonrpc":"2.0","id":12345678901234567890,"result":${result}}`)
const link = '{"type":"resource_link","uri":"note://1","n":1.0}'
const linked = '{"type":"resource_link","uri":"sallyport://a/note://1","n":1.0}'

test.each([
  ['tools/call', `{"content":[${link},{"type":"text","text":"\\"uri\\""}]}`, `{"content":[${linked},{"type":"text","text":"\\"uri\\""}]}`],
  [
    'tools/call',
    '{"content":[{"type":"resource","resource":{"uri":"ui://p/1","text":""}}]}',
    '{"content":[{"type":"resource","resource":{"uri":"ui://a/p/1","text":""}}]}',
  ],
  ['tools/call', '{"resultType":"task","taskId":"t"}', '{"resultType":"task","taskId":"a/t"}'],
  ['tools/call', '{"task":{"taskId":"t"}}', '{"task":{"taskId":"a/t"}}'],
  ['tools/call', '{"content":[],"_meta":{"ui":{"resourceUri":"ui://p"}}}', '{"content":[],"_meta":{"ui":{"resourceUri":"ui://a/p"}}}'],
  ['prompts/get', `{"messages":[{"role":"user","content":${link}}]}`, `{"messages":[{"role":"user","content":${linked}}]}`],
  ['prompts/get', `{"messages":[{"role":"user","content":[${link}]}]}`, `{"messages":[{"role":"user","content":[${linked}]}]}`],
  [
    'resources/read',
    '{"contents":[{"uri":"note://1"},{"uri":"note://2"}]}',
    '{"contents":[{"uri":"sallyport://a/note://1"},{"uri":"sallyport://a/note://2"}]}',
  ],
  [
    'tasks/get',
    `{"taskId":"t","status":"completed","result":{"content":[${link}]}}`,
    `{"taskId":"a/t","status":"completed","result":{"content":[${linked}]}}`,
  ],
  [
    'skills/get',
    '{"skill":{"uri":"skill://s","resources":[{"uri":"skill://s/x"}]}}',
    '{"skill":{"uri":"sallyport://a/skill://s","resources":[{"uri":"sallyport://a/skill://s/x"}]}}',
  ],
  [
    'resources/directory/read',
    '{"resources":[{"uri":"dir://x"}],"nextCursor":"c"}',
    '{"resources":[{"uri":"sallyport://a/dir://x"}],"nextCursor":"c"}',
  ],
  [
    'tasks/result',
    `{"content":[${link}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}`,
    `{"content":[${linked}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"a/t"}}}`,
  ],
])('the answer to %s names things of ours: %s', (method, from, to) => {
  expect(String(exposeResponse(method, 'a', response(from)))).toBe(String(response(to)))
})

test.each([
  ['no place to rename', 'tools/call', '{"content":[{"type":"text","text":"x"}], "n":1.0}'],
  ['a place in a value of the tool’s own', 'tools/call', '{ "structuredContent":{"uri":"note://1"},"content":[] }'],
  ['an unknown kind of content', 'tools/call', '{ "content":[{"type":"new","uri":"note://1"}] }'],
  ['a method without places', 'completion/complete', '{ "completion":{"values":[]},"uri":"x" }'],
  ['more than a megabyte', 'resources/read', `{ "contents":[{"uri":"note://1","text":"${'x'.repeat(1024 * 1024)}"}] }`],
])('an answer with %s passes as it is', (_, method, text) => {
  const bytes = response(text)
  expect(exposeResponse(method, 'a', bytes)).toBe(bytes)
})

test('what is no JSON passes as it is', () => {
  const bytes = Buffer.from('{"uri"')
  expect(exposeResponse('tools/call', 'a', bytes)).toBe(bytes)
})

test('notifications and requests name things of ours', () => {
  expect(exposeNotice('a', '{"method":"notifications/resources/updated","params":{"uri":"note://1","n":1.0}}')).toBe(
    '{"method":"notifications/resources/updated","params":{"uri":"sallyport://a/note://1","n":1.0}}',
  )
  expect(exposeNotice('a', '{"method":"notifications/tasks/status","params":{"taskId":"t"}}')).toBe(
    '{"method":"notifications/tasks/status","params":{"taskId":"a/t"}}',
  )
  const related = (id: string) =>
    `{"method":"elicitation/create","params":{"uri":"u","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"${id}"}}}}`
  expect(exposeNotice('a', related('t'))).toBe(related('a/t'))
  expect(exposeNotice('a', '{ "method":"notifications/message","params":{"uri":"x"}}')).toBe(
    '{ "method":"notifications/message","params":{"uri":"x"}}',
  )
})

test('a tool names its page of MCP Apps under the scheme that hosts know', () => {
  expect(exposeItem('tools', { name: 'x', _meta: { ui: { resourceUri: 'ui://p', visibility: ['app'] }, other: 1 } }, 'a')).toEqual({
    name: 'x',
    _meta: { ui: { resourceUri: 'ui://a/p', visibility: ['app'] }, other: 1 },
  })
})
