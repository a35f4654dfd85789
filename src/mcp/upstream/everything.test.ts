import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, expect, test } from 'vitest'
import { call, eventsOf, never, notification, readData, request, response } from '../../../test/fakes/outgoing.ts'
import { openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createHttpUpstream } from './http.ts'
import { createStdioUpstream } from './stdio.ts'
import type { Outgoing, Reply, Upstream, UpstreamSession } from './upstream.ts'

// The reference server of the protocol, as it is published.
const EVERYTHING = fileURLToPath(new URL('../../../node_modules/@modelcontextprotocol/server-everything/dist/index.js', import.meta.url))
/** Binds what listens to a free port of the loopback interface only, and says which. */
const ON_LOOPBACK = `data:text/javascript,${encodeURIComponent(`
  import net from 'node:net'
  const { listen } = net.Server.prototype
  net.Server.prototype.listen = function (port, ...rest) {
    this.once('listening', () => console.error('bound ' + this.address().port))
    return listen.call(this, 0, '127.0.0.1', ...rest)
  }`)}`

const HEADERS = { 'mcp-protocol-version': '2025-11-25' }
const opened: Upstream[] = []
const started: ChildProcess[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})
afterAll(() => {
  for (const child of started) child.kill('SIGKILL')
})

async function startHttp(): Promise<string> {
  const child = spawn(process.execPath, ['--import', ON_LOOPBACK, EVERYTHING, 'streamableHttp'], { stdio: ['ignore', 'ignore', 'pipe'] })
  started.push(child)
  const lines = createInterface({ input: child.stderr })
  for await (const line of lines) {
    const [, port] = /^bound (\d+)$/.exec(line) ?? []
    if (port) return `mcp+http://127.0.0.1:${port}/mcp`
  }
  throw new Error('the server ended')
}

/** The last message of a reply; what came before it is handed to `onOther`. */
async function resultOf(
  reply: Reply,
  onOther: (message: string) => Promise<void> = async () => undefined,
): Promise<Record<string, unknown>> {
  if (reply.kind === 'message') return JSON.parse(reply.bytes.toString('utf8')).result
  for await (const event of eventsOf(reply)) {
    if (event.data.length === 0) continue
    const data = event.data.toString()
    const message = JSON.parse(data)
    if ('result' in message || 'error' in message) return message.result
    await onOther(data)
  }
  throw new Error('the stream ended without an answer')
}

async function expectFullWalk(session: UpstreamSession): Promise<void> {
  const hello = { protocolVersion: '2025-11-25', capabilities: { sampling: {} }, clientInfo: { name: 't', version: '1' } }
  const ask = async (message: Outgoing): Promise<Record<string, unknown>> => resultOf(await session.send(message, never))
  expect(await ask(request('0', 'initialize', hello))).toMatchObject({
    serverInfo: { name: 'mcp-servers/everything' },
    protocolVersion: '2025-11-25',
  })
  expect(await session.send(notification('notifications/initialized'), never)).toEqual({ kind: 'accepted' })
  expect(JSON.stringify(await ask(request('1', 'tools/list', {}, { headers: HEADERS, whole: true })))).toContain('"echo"')
  expect(await ask(call('"two"', 'echo', { message: 'hi' }, { headers: HEADERS }))).toEqual({
    content: [{ type: 'text', text: 'Echo: hi' }],
  })

  // The server asks the client on the stream of the call, and goes on with its answer.
  const sampling = await session.send(call('3', 'trigger-sampling-request', { prompt: 'p', maxTokens: 5 }, { headers: HEADERS }), never)
  const answers: string[] = []
  const result = await resultOf(sampling, async (message) => {
    const { id, method } = JSON.parse(message)
    if (method !== 'sampling/createMessage') return
    answers.push(method)
    const said = { model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled answer' } }
    await session.send({ ...response(JSON.stringify(id), said), headers: HEADERS }, never)
  })
  expect(answers).toEqual(['sampling/createMessage'])
  expect(JSON.stringify(result)).toContain('sampled answer')

  const long = call('4', 'trigger-long-running-operation', { duration: 0.1, steps: 2 }, { headers: HEADERS, progressToken: '"p"' })
  const progress = await readData(eventsOf(await session.send(long, never)))
  expect(progress.filter((data) => data.includes('"progressToken":"p"')).length).toBe(2)
}

test('server-everything over stdio', { timeout: 60_000 }, async () => {
  const upstream = createStdioUpstream(stdioApp(process.execPath, [EVERYTHING, 'stdio']), await stdioDeps())
  opened.push(upstream)
  const session = await upstream.open(openAs('legacy'))
  await expectFullWalk(session)
  await session.close()
})

test('server-everything over streamable HTTP', { timeout: 60_000 }, async () => {
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'everything' }, spec: { uri: await startHttp() } })
  const upstream = createHttpUpstream(app, { now: Date.now, log: silentLogger })
  opened.push(upstream)
  const session = await upstream.open(openAs('legacy'))
  await expectFullWalk(session)
  expect(session.externalId).toMatch(/^[0-9a-f-]{36}$/)
  await session.close()
  const [child] = started
  child?.kill('SIGKILL')
  if (child) await once(child, 'exit')
})
