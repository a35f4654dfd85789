import { type Socket, connect } from 'node:net'
import { z } from 'zod'
import { type Answer, AnswerReader } from './http-reader.ts'

/**
 * The load generator, a process of its own: keep-alive connections with one call under way on each, over raw sockets so that its own cost
 * is small and the same for every target. Every answer's id is compared with the request's.
 */
export const loadOrderSchema = z.object({
  port: z.number(),
  path: z.string(),
  token: z.string(),
  connections: z.number(),
  /** The tool as this target calls it. */
  tool: z.string(),
  /** Revision of the protocol: with one that has no sessions, none is opened. */
  revision: z.enum(['2025-11-25', '2026-07-28']),
  /** Text in each answer; up to 85 what the server says by itself. */
  bytes: z.number(),
  warmupMs: z.number(),
  measureMs: z.number(),
})
export type LoadOrder = z.infer<typeof loadOrderSchema>

/** All times in microseconds. */
export const loadResultSchema = z.object({
  /** Answered calls in the measured time. */
  calls: z.number(),
  /** With those of the warm-up. */
  allCalls: z.number(),
  elapsedMs: z.number(),
  p50: z.number(),
  p99: z.number(),
  /** What the generator used itself, where it is one end of what is measured. */
  cpuUs: z.number().optional(),
})
export type LoadResult = z.infer<typeof loadResultSchema>

/** Seven digits, so that all requests of a connection have one length. */
const FIRST_ID = 1_000_000
const LAST_ID = 9_999_999
const SMALL = 85
const OPENING = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1.0.0' } },
}
const META = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }
const DEADLINE_MS = 120_000

class Client {
  readonly #order: LoadOrder
  readonly #socket: Socket
  readonly #reader = new AnswerReader()
  #session: string | undefined
  #onAnswer: (answer: Answer) => void = () => undefined

  constructor(order: LoadOrder) {
    this.#order = order
    this.#socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (chunk: string) => {
      const answer = this.#reader.push(chunk)
      if (answer) this.#onAnswer(answer)
    })
    this.#socket.on('error', fail)
    this.#socket.on('close', () => fail(new Error('the target closed a connection')))
  }

  /** Opens the MCP session, where the revision has one. */
  async open(): Promise<void> {
    if (this.#order.revision === '2026-07-28') return
    const { head, body } = await this.#exchange('POST', JSON.stringify(OPENING))
    if (!head.startsWith('HTTP/1.1 200') || !body.includes('"protocolVersion"'))
      throw new Error(`initialize failed: ${head.slice(0, 200)} ${body.slice(0, 500)}`)
    this.#session = /\r\nmcp-session-id: ([^\r]+)/i.exec(head)?.[1]
    await this.#exchange('POST', '{"jsonrpc":"2.0","method":"notifications/initialized"}')
  }

  /** Calls without a pause until `isOver`; tells the time each took. */
  async run(isOver: () => boolean, onCall: (microseconds: number) => void): Promise<void> {
    const done = Promise.withResolvers<void>()
    const { bytes } = this.#order
    const call = callFor(this.#order)
    const request = Buffer.from(this.#request('POST', `{"jsonrpc":"2.0","id":${FIRST_ID},${call}`), 'latin1')
    const idAt = request.indexOf(String(FIRST_ID))
    let id = FIRST_ID + Math.floor(Math.random() * 1_000_000)
    let sentAt = 0
    const next = (): void => {
      if (isOver()) return done.resolve()
      id = id === LAST_ID ? FIRST_ID : id + 1
      // The one before was answered, so its bytes are no longer needed.
      request.write(String(id), idAt, 'latin1')
      sentAt = performance.now()
      this.#socket.write(request)
    }
    this.#onAnswer = (answer) => {
      if (!isRight(answer, id, bytes))
        return fail(new Error(`wrong answer to ${id}: ${answer.head.slice(0, 400)} ${answer.length} bytes ${answer.body.slice(0, 500)}`))
      onCall((performance.now() - sentAt) * 1000)
      next()
    }
    next()
    await done.promise
  }

  async close(): Promise<void> {
    if (this.#session !== undefined) await this.#exchange('DELETE', '')
    this.#socket.removeAllListeners('close').destroy()
  }

  #exchange(method: string, body: string): Promise<Answer> {
    return new Promise((resolve) => {
      this.#onAnswer = resolve
      this.#socket.write(this.#request(method, body))
    })
  }

  #request(method: string, body: string): string {
    const { revision, tool } = this.#order
    const modern = revision === '2026-07-28' ? `mcp-method: tools/call\r\nmcp-name: ${tool}\r\n` : ''
    const more = this.#session === undefined ? modern : `mcp-session-id: ${this.#session}\r\n`
    return (
      `${method} ${this.#order.path} HTTP/1.1\r\nhost: 127.0.0.1:${this.#order.port}\r\nauthorization: Bearer ${this.#order.token}\r\n` +
      `content-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: ${revision}\r\n${more}` +
      `content-length: ${body.length}\r\n\r\n${body}`
    )
  }
}

/** Whether an answer is that of a call: most write the id first; whoever writes the message anew may not. */
function isRight({ head, body, length }: Answer, id: number, bytes: number): boolean {
  if (!head.startsWith('HTTP/1.1 200') || length < bytes) return false
  if (body.startsWith(`{"jsonrpc":"2.0","id":${id},"result":{"content":`)) return true
  return body.startsWith('{"result":{"content":[') && (bytes > 1000 || body.trimEnd().endsWith(`,"jsonrpc":"2.0","id":${id}}`))
}

function callFor({ tool, bytes, revision }: LoadOrder): string {
  const args = { query: 'quarterly report', limit: 10, labels: ['a', 'b'], ...(bytes > SMALL && { bytes }) }
  const said = revision === '2026-07-28' && { _meta: META }
  return `"method":"tools/call","params":${JSON.stringify({ ...said, name: tool, arguments: args })}}`
}

function fail(error: Error): void {
  process.stderr.write(`load: ${error.message}\n`)
  process.exit(1)
}

async function run(order: LoadOrder): Promise<void> {
  const clients = Array.from({ length: order.connections }, () => new Client(order))
  await Promise.all(clients.map((client) => client.open()))
  process.send?.({ ready: true })
  await new Promise((resolve) => process.once('message', resolve))
  const times: number[] = []
  const from = performance.now() + order.warmupMs
  const until = from + order.measureMs
  let allCalls = 0
  const isOver = (): boolean => performance.now() >= until
  const onCall = (microseconds: number): void => {
    allCalls++
    if (performance.now() >= from) times.push(microseconds)
  }
  await Promise.all(clients.map((client) => client.run(isOver, onCall)))
  const elapsedMs = performance.now() - from
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  const result: LoadResult = { calls: times.length, allCalls, elapsedMs, p50: at(0.5), p99: at(0.99) }
  process.send?.({ result })
  await Promise.all(clients.map((client) => client.close()))
  process.exit(0)
}

if (import.meta.main) {
  setTimeout(() => fail(new Error('the time is up')), DEADLINE_MS).unref()
  process.on('disconnect', () => process.exit(0))
  process.once('message', (message) => {
    run(loadOrderSchema.parse(message)).catch((thrown: unknown) => fail(thrown instanceof Error ? thrown : new Error(String(thrown))))
  })
}
