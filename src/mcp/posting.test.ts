import { expect, test } from 'vitest'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { result } from '../../test/fakes/memory-upstream.ts'

const call = (id: string, name: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`
const list = (id: string, what = 'tools') => `{"jsonrpc":"2.0","id":${id},"method":"${what}/list"}`

test('batches: only in 2025-03-26, and all or nothing', async () => {
  const f = createFixture()
  const current = await f.open()
  const both = `[${call('1', 'echo')},${call('2', 'rm')}]`
  expect((await f.call(current, both)).status).toBe(400)

  f.upstream.script = (message) => result(message, '{"ok":true}')
  const { script } = f.upstream
  const old = await openOld(f)
  f.upstream.sent.length = 0
  const refused = await f.call(old, both)
  expect(JSON.parse(refused.text)).toMatchObject([
    { id: 1, error: { code: -32600 } },
    { id: 2, error: { code: -32602 } },
  ])
  for (const body of [
    '[]',
    `[[${call('1', 'echo')}]]`,
    `[${call('1', 'echo')},7]`,
    `[${Array.from({ length: 101 }, (_, id) => call(String(id), 'echo')).join(',')}]`,
  ]) {
    expect((await f.call(old, body)).status).toBe(400)
  }
  expect((await f.call(old, '[{"jsonrpc":"2.0","id":1,"method":"initialize"}]')).status).toBe(400)
  expect(f.upstream.sent).toEqual([])

  f.upstream.script = script
  const answered = await f.call(old, `[${call('1', 'echo')},${list('"b"')},{"jsonrpc":"2.0","method":"notifications/initialized"}]`)
  expect(answered.headers['content-type']).toBe('text/event-stream')
  expect(answered.text).toContain('data: {"jsonrpc":"2.0","id":1,"result":{"ok":true}}\n\n')
  expect(answered.text).toContain('"id":"b","error"')
  const twice = await f.call(old, `[${call('1', 'echo')},${call('1', 'echo')}]`)
  expect(twice.text.match(/"error"/g)).toHaveLength(1)
})

/** A session of 2025-03-26. */
async function openOld(f: ReturnType<typeof createFixture>): Promise<string> {
  const { open } = f.upstream
  f.upstream.open = async (options) => {
    const session = await open(options)
    const { send } = session
    session.send = (message, signal) =>
      message.method === 'initialize'
        ? Promise.resolve(result(message, '{"protocolVersion":"2025-03-26","capabilities":{}}'))
        : send(message, signal)
    return session
  }
  const id = await f.open()
  f.upstream.open = open
  return id
}

test('prompts, resources, templates and completion follow the roles', async () => {
  const f = createFixture({ allow: { tools: ['*'], resources: ['file:///pub/*'], prompts: ['hello'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  const denied = [
    '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}',
    '{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"file:///etc"}}',
    '{"jsonrpc":"2.0","id":3,"method":"resources/read"}',
    '{"jsonrpc":"2.0","id":4,"method":"prompts/get","params":{"name":"bye"}}',
    '{"jsonrpc":"2.0","id":5,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"bye"}}}',
    '{"jsonrpc":"2.0","id":6,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"file:///{path}"}}}',
    '{"jsonrpc":"2.0","id":7,"method":"completion/complete","params":{"ref":{"type":"ref/tool","name":"hello"}}}',
    '{"jsonrpc":"2.0","id":8,"method":"completion/complete"}',
    '{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["file:///pub/a","file:///etc"]}}}',
    '{"jsonrpc":"2.0","id":10,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":[7]}}}',
  ]
  for (const text of denied)
    expect(await f.call(session, text)).toMatchObject({ status: 200, text: expect.stringContaining('"code":-32602') })
  expect(f.upstream.sent).toEqual([])
  expect((await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///pub/a"}}')).text).toContain(
    '"result"',
  )

  f.upstream.script = (message) =>
    result(message, '{"resourceTemplates":[{"uriTemplate":"file:///pub/{a}"},{"uriTemplate":"file:///etc/{a}"}]}')
  const templates = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"resources/templates/list"}')
  expect(JSON.parse(templates.text).result).toEqual({ resourceTemplates: [{ uriTemplate: 'file:///pub/{a}' }] })
  f.upstream.script = (message) => result(message, '{"prompts":[{"name":"hello"},{"name":"bye"}]}')
  expect(JSON.parse((await f.call(session, list('1', 'prompts'))).text).result).toEqual({ prompts: [{ name: 'hello' }] })
})
