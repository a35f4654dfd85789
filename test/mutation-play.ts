import { Agent, request as sendRequest } from 'node:http'
import { parseArgs } from 'node:util'
import { createSseParser } from '../src/lib/sse.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { json, type ScriptedHttp, sse, startScriptedHttp } from './fakes/scripted-http.ts'
import { headersOf } from './fakes/raw-mcp.ts'
import { createRandom, mutate, pick } from './mutate.ts'
import { type Json, type Readings, readingsOf } from './readings.ts'

/**
 * Sends messages with something wrong with them through the gateway, and answers back, and looks at what arrives: on either side what was judged
 * or nothing. By hand, for long: `node test/mutation-play.ts --seed 7 --seconds 600`.
 */

export interface Played {
  sent: number
  /** How many arrived at the other side as they were. */
  passed: number
  /** What must not be, with the message it was seen with. */
  faults: string[]
  /** Answers by HTTP status. */
  statuses: Record<string, number>
  rssMb: number[]
}

export type Direction = 'requests' | 'answers'

interface Table {
  cluster: Cluster
  server: ScriptedHttp
  token: string
  random: () => number
  played: Played
  agent: Agent
}

const MODERN = '2026-07-28'
const ANSWER_MS = 20_000
/** Bytes from which on an answer is passed on as it comes. */
const STREAMED = 64 * 1024
const META = `"_meta":{"io.modelcontextprotocol/protocolVersion":"${MODERN}","io.modelcontextprotocol/clientCapabilities":{}}`
const NOTE = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"a"}}'

/** Valid messages, and what is in them of the names that are allowed and of those that are not. */
const MESSAGES = [
  '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"a":1,"b":{"name":"rm"}}META}}',
  '{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo","arguments":{},"_meta":{"progressToken":3}}}',
  '{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"cursor":"c"META}}',
  '{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"note:ok"META}}',
  '{"jsonrpc":"2.0","id":10,"method":"prompts/get","params":{"name":"greet","arguments":{"who":"x"}META}}',
  '{"jsonrpc":"2.0","id":11,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"a","value":"b"}META}}',
  '{"jsonrpc":"2.0","id":12,"method":"ping","params":{}}',
  '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":3,"progress":1}}',
  '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}',
  '{"jsonrpc":"2.0","id":99,"result":{"a":1}}',
]
const RESULTS = [
  '{"content":[{"type":"text","text":"a"}]}',
  '{"tools":[{"name":"echo","inputSchema":{"type":"object"}},{"name":"rm","inputSchema":{"type":"object"}}]}',
  '{"tools":[{"inputSchema":{},"name":"echo"}],"nextCursor":"x"}',
  '{"resources":[{"uri":"note:ok","name":"ok"},{"uri":"note://secret","name":"s"}]}',
]

export async function playMutations(
  direction: Direction,
  { seed, count, seconds = 0 }: { seed: number; count: number; seconds?: number },
): Promise<Played> {
  const cluster = await startCluster()
  const server = await startScriptedHttp()
  const random = createRandom(seed)
  const played: Played = { sent: 0, passed: 0, faults: [], statuses: {}, rssMb: [] }
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    await cluster.saveHttpApp('web', server.url)
    const mcp = { tools: ['echo'], resources: ['note:ok'], prompts: ['greet'] }
    await cluster.saveRole('guest', { allow: { app_labels: { env: 'test' }, mcp } })
    await cluster.saveUser('ana', ['guest'])
    const table: Table = { cluster, server, random, played, agent, token: await cluster.tokenOf('ana') }
    const play = direction === 'requests' ? await playRequests(table) : await playAnswers(table)
    const end = Date.now() + seconds * 1000
    while (played.sent < count || Date.now() < end) {
      await play()
      if (played.sent++ % 2000 === 0) played.rssMb.push(Math.round(process.memoryUsage.rss() / 2 ** 20))
    }
    return played
  } finally {
    agent.destroy()
    await cluster.close()
    await server.close()
  }
}

/** From a client, at the endpoint of the server and at that of all servers, in a session and without. */
async function playRequests(table: Table): Promise<() => Promise<void>> {
  const { server, random, played } = table
  const sessions: Record<string, string> = {}
  for (const path of ['/mcp/apps/web', '/mcp']) sessions[path] = await openSession(table, path)
  server.script = (id, _, response) => json(response, `{"jsonrpc":"2.0","id":${id},"result":${RESULTS[1]}}`)
  return async () => {
    const path = random() < 0.7 ? '/mcp/apps/web' : '/mcp'
    const isModern = random() < 0.3
    const message = pick(random, MESSAGES).replace('META', isModern ? `,${META}` : '')
    const body = mutate(path === '/mcp' ? message.replace('"echo"', '"web_echo"') : message, random)
    server.bodies.length = 0
    const answer = await ask(table, path, body, isModern ? modernHeaders(message, random) : { 'mcp-session-id': sessions[path] ?? '' })
    const words = `${path}${isModern ? ' (modern)' : ''} ${show(body)}`
    played.statuses[answer.status] = (played.statuses[answer.status] ?? 0) + 1
    if (answer.status === 0) played.faults.push(`no answer: ${words}`)
    // 502: the server answered something else, which its readers of what is odd may do.
    if (answer.status >= 500 && answer.status !== 502) played.faults.push(`${answer.status} ${answer.text.slice(0, 200)}: ${words}`)
    if (answer.status === 404 && !isModern) sessions[path] = await openSession(table, path)
    for (const received of server.bodies) {
      for (const fault of faultsAtServer(received)) played.faults.push(`${fault}: ${words} became ${show(received)}`)
      if (received === body.toString()) played.passed++
      else if (path !== '/mcp' && !isModern && !isOwn(received) && !isElement(received, body))
        played.faults.push(`not what was sent: ${words} became ${show(received)}`)
    }
  }
}

/** What the gateway says to a server by itself. */
function isOwn(received: string): boolean {
  return /"method":"(?:initialize|notifications\/initialized|notifications\/cancelled|server\/discover)"/.test(received)
}

/** One message of a batch, to the letter. */
function isElement(received: string, body: Buffer): boolean {
  return /^\s*\[/.test(body.toString()) && body.toString().includes(received)
}

const UNNAMED = new Set([
  'initialize',
  'ping',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'logging/setLevel',
  'server/discover',
])
const NAMED: Record<string, { path: string[]; allowed: string[] }> = {
  'tools/call': { path: ['name'], allowed: ['echo'] },
  'prompts/get': { path: ['name'], allowed: ['greet'] },
  'resources/read': { path: ['uri'], allowed: ['note:ok'] },
}

/** What no reader may find in a message that a server gets. */
function* faultsAtServer(received: string): Generator<string> {
  let readings: Readings[]
  try {
    readings = readingsOf(received)
  } catch {
    return yield 'no JSON'
  }
  for (const reading of readings) {
    if (reading.methods.length > 1 || reading.ids.length > 1) yield 'several methods or ids'
    if (reading.methods.length > 0 && reading.isAnswer) yield 'a call and an answer'
    for (const method of reading.methods) {
      if (typeof method !== 'string') yield 'a method that is no text'
      const row = NAMED[String(method)]
      const names = row ? reading.params(...row.path) : []
      if (names.length > 1) yield 'several names'
      if (row && !names.every((name) => row.allowed.includes(String(name)))) yield `${String(method)} of what is not allowed`
      if (row && names.length === 0) yield `${String(method)} of nothing`
      const isKnown =
        row !== undefined || UNNAMED.has(String(method)) || /^(?:notifications|completion|tasks|skills)\//.test(String(method))
      if (!isKnown) yield 'a method that nobody allowed'
    }
  }
}

/** From a server: its answer in JSON or on a stream, alone or with others, of each revision. */
async function playAnswers(table: Table): Promise<() => Promise<void>> {
  const { server, random, played } = table
  let bytes = Buffer.alloc(0)
  server.script = (id, _, response) => {
    const message = `{"jsonrpc":"2.0","id":${id},"result":${pick(random, RESULTS)}}`
    bytes = Buffer.from(
      mutate(random() < 0.9 ? message : `{"jsonrpc":"2.0","id":${id},"error":{"code":-32602,"message":"m","data":{}}}`, random),
    )
    if (random() < 0.6)
      return void response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes)
    const before = random() < 0.5 ? [NOTE] : []
    if (random() < 0.5) return sse(response, ...before, bytes.toString().replaceAll(/\r\n|\r|\n/g, '\ndata: '))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(Buffer.concat([Buffer.from('data: '), bytes, Buffer.from('\n\n')]))
  }
  let session = await openSession(table, '/mcp/apps/web')
  let last = 0
  return async () => {
    const method = pick(random, ['tools/call', 'tools/list', 'resources/list'])
    const id = String(++last)
    const params = method === 'tools/call' ? '{"name":"echo"}' : '{}'
    const version = pick(random, ['2025-11-25', '2025-06-18', '2025-03-26'])
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': version }
    const answer = await ask(
      table,
      '/mcp/apps/web',
      Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`),
      headers,
    )
    const words = `${method} ${show(bytes)} became ${show(answer.text)}`
    played.statuses[answer.status] = (played.statuses[answer.status] ?? 0) + 1
    if (answer.status === 404) session = await openSession(table, '/mcp/apps/web')
    if (answer.text === bytes.toString()) played.passed++
    // What is large and needs no filter passes as it comes, and breaks off where it turns out to be no answer.
    const isAsSent = answer.text === bytes.toString() || dataOf(answer.text).includes(bytes.toString().replaceAll(/\r\n|\r/g, '\n'))
    if (bytes.length > STREAMED && method === 'tools/call' && (answer.status === 0 || isAsSent)) return
    if (answer.status === 0) played.faults.push(`no answer: ${words}`)
    if (answer.status >= 500 && answer.status !== 502) played.faults.push(`${answer.status}: ${words}`)
    for (const fault of faultsAtClient(answer.text, method, id)) played.faults.push(`${fault}: ${words}`)
  }
}

/** What no reader may find in what a client gets. */
function* faultsAtClient(text: string, method: string, id: string): Generator<string> {
  const messages = /^\s*[{[]/.test(text) ? [text] : dataOf(text)
  let answers = 0
  for (const message of messages) {
    let readings: Readings[]
    try {
      readings = readingsOf(message)
    } catch {
      yield 'no JSON'
      continue
    }
    for (const reading of readings) {
      if (!reading.isAnswer) continue
      answers++
      if (reading.methods.length > 0) yield 'a call and an answer'
      if (reading.ids.length > 1 || !reading.ids.every((one) => textOf(one) === id || one === null)) yield 'an answer to something else'
      if (method === 'tools/list' && !reading.result('tools', 'name').every((one) => one === 'echo')) yield 'a tool that is not allowed'
      if (method === 'resources/list' && !reading.result('resources', 'uri').every((one) => one === 'note:ok'))
        yield 'a resource that is not allowed'
    }
  }
  if (answers !== 1) yield `${answers} answers`
}

function textOf(value: Json): string {
  return typeof value === 'object' && value !== null && 'number' in value ? value.number : JSON.stringify(value)
}

function dataOf(stream: string): string[] {
  const events = createSseParser().push(Buffer.from(stream))
  return events.map(({ data }) => data.toString()).filter((data) => data !== '')
}

function modernHeaders(message: string, random: () => number): Record<string, string> {
  const method = /"method":"([^"]+)"/.exec(message)?.[1] ?? 'ping'
  const name = /"(?:name|uri)":"([^"]+)"/.exec(message)?.[1] ?? ''
  const isOdd = random() < 0.2
  return {
    'mcp-protocol-version': isOdd ? pick(random, [MODERN, '2025-11-25', '', 'x']) : MODERN,
    'mcp-method': isOdd ? pick(random, [method, 'ping', 'tools/call', 'TOOLS/LIST', '']) : method,
    ...(name !== '' && { 'mcp-name': isOdd ? pick(random, [name, 'rm', 'echo', '=?base64?cm0=?=']) : name }),
  }
}

async function openSession(table: Table, path: string): Promise<string> {
  const params = '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}'
  const { headers, status, text } = await ask(
    table,
    path,
    Buffer.from(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":${params}}`),
    {},
  )
  if (status !== 200) throw new Error(`${status}: ${text}`)
  const session = String(headers['mcp-session-id'])
  // At `/mcp` a tool is known once it was listed.
  await ask(table, path, Buffer.from('{"jsonrpc":"2.0","id":0,"method":"tools/list"}'), { 'mcp-session-id': session })
  return session
}

interface Got {
  /** 0 when nothing came in time. */
  status: number
  headers: Record<string, unknown>
  text: string
}

function ask({ cluster, token, agent }: Table, path: string, body: Buffer, headers: Record<string, string>): Promise<Got> {
  return new Promise((resolve) => {
    const nothing = (): void => resolve({ status: 0, headers: {}, text: '' })
    const request = sendRequest(
      new URL(path, cluster.url),
      { method: 'POST', agent, headers: { ...headersOf(token, headers), 'content-length': body.length }, timeout: ANSWER_MS },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', nothing)
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() }),
        )
      },
    )
    request.on('timeout', () => request.destroy())
    request.on('error', nothing)
    request.end(body)
  })
}

function show(text: Buffer | string): string {
  return JSON.stringify(text.toString('latin1')).slice(0, 400)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { seed: { type: 'string' }, seconds: { type: 'string' }, direction: { type: 'string' } } })
  const options = { seed: Number(values.seed ?? Date.now() % 1e9), seconds: Number(values.seconds ?? 60), count: 0 }
  for (const direction of ['requests', 'answers'] as const) {
    if (values.direction !== undefined && values.direction !== direction) continue
    const { faults, ...rest } = await playMutations(direction, options)
    process.stdout.write(
      `${direction} ${JSON.stringify({ ...options, ...rest, faults: faults.length })}\n${faults.slice(0, 40).join('\n')}\n`,
    )
  }
}
