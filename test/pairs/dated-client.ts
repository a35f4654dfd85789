import { createSseParser } from '../../src/lib/sse.ts'
import { type Fields, fieldsOf, RpcError } from './dated-tools.ts'

export interface RequestOptions {
  onNotification?: (method: string, params: Fields) => void
  /** Fires when the client wants the answer no more: it cancels as its revision has it. */
  signal?: AbortSignal
  /** Members of `_meta`. */
  meta?: Fields
}

/** An MCP client that speaks exactly one revision and is strict about it: an answer with members its revision has not is refused. */
export interface DatedClient {
  revision: string
  capabilities: Fields
  request(method: string, params: Fields, options?: RequestOptions): Promise<Fields>
  /** 2025-03-26 only: answers by id. */
  batch(messages: Fields[]): Promise<Map<unknown, Fields>>
  /** Begins to hear of a resource and of changed tools; resolves when the server has taken it. */
  subscribe(uri: string): Promise<void>
  /** The next notification of this method outside any request. */
  heard(method: string): Promise<Fields>
  close(): Promise<void>
}

const META = 'io.modelcontextprotocol/'
const MODERN_KEYS = ['resultType', 'ttlMs', 'cacheScope']
const WAIT_MS = 10_000

export function capabilitiesOf(revision: string): Fields {
  return {
    roots: revision === '2026-07-28' ? {} : { listChanged: true },
    sampling: {},
    ...(revision === '2025-06-18' && { elicitation: {} }),
    ...(revision >= '2025-11-25' && { elicitation: { form: {}, url: {} } }),
  }
}

/** What the person and the model behind the client say, as far as the client has declared that it can be asked. */
export function answerAsked(method: string, params: Fields, capabilities: Fields): Fields {
  if (method === 'elicitation/create' && capabilities['elicitation'] === undefined)
    throw new RpcError(-32601, `Method not found: ${method}`)
  if (method === 'sampling/createMessage') return { role: 'assistant', content: { type: 'text', text: 'forty-two' }, model: 'm' }
  if (method === 'elicitation/create')
    return params['mode'] === 'url' ? { action: 'accept' } : { action: 'accept', content: { name: 'Ada' } }
  if (method === 'roots/list') return { roots: [{ uri: 'file:///work' }] }
  throw new RpcError(-32601, `Method not found: ${method}`)
}

export function openDatedClient(revision: string, url: URL, token: string): Promise<DatedClient> {
  if (revision === '2026-07-28') return Promise.resolve(new ModernClient(url, token))
  return revision === '2024-11-05' ? OldClient.open(url, token) : SessionClient.open(revision, url, token)
}

/** Notifications outside requests, for whoever waits or will wait for them. */
class Heard {
  readonly #kept: { method: string; params: Fields }[] = []
  #wake = Promise.withResolvers<void>()

  add(method: string, params: Fields): void {
    this.#kept.push({ method, params })
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  async next(method: string): Promise<Fields> {
    for (;;) {
      const index = this.#kept.findIndex((one) => one.method === method)
      const [found] = index === -1 ? [] : this.#kept.splice(index, 1)
      if (found) return found.params
      await soon(`a notification ${method}`, this.#wake.promise)
    }
  }
}

async function soon<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), WAIT_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function resultOf(message: Fields, isModern: boolean): Fields {
  const error = fieldsOf(message['error'])
  if (error) throw new RpcError(Number(error['code']), String(error['message']), fieldsOf(error['data']))
  const result = fieldsOf(message['result'])
  if (!result) throw new Error(`no result: ${JSON.stringify(message)}`)
  const extra = MODERN_KEYS.find((key) => key in result)
  if (!isModern && extra) throw new Error(`${extra} is no member of a result of this revision`)
  if (isModern && typeof result['resultType'] !== 'string') throw new Error('resultType is missing')
  return result
}

/** Messages of an answer as they come, JSON or events. */
async function* messagesOf(response: Response): AsyncGenerator<Fields> {
  if (!response.headers.get('content-type')?.includes('text/event-stream')) {
    const text = await response.text()
    const value: unknown = text === '' ? [] : JSON.parse(text)
    for (const item of Array.isArray(value) ? value : [value]) yield fieldsOf(item) ?? {}
    return
  }
  const parser = createSseParser()
  for await (const chunk of response.body ?? []) {
    for (const event of parser.push(chunk)) {
      const data = event.data.toString()
      if (data === '') continue
      if (event.event === 'endpoint') yield { endpoint: data }
      else yield fieldsOf(JSON.parse(data)) ?? {}
    }
  }
}

class ModernClient implements DatedClient {
  readonly revision = '2026-07-28'
  readonly capabilities = capabilitiesOf('2026-07-28')
  readonly #url: URL
  readonly #token: string
  readonly #heard = new Heard()
  readonly #listening = new AbortController()
  #nextId = 1

  constructor(url: URL, token: string) {
    this.#url = url
    this.#token = token
  }

  async request(method: string, params: Fields, options: RequestOptions = {}): Promise<Fields> {
    let inputs: Fields = {}
    for (let round = 0; round < 5; round++) {
      const result = await this.#once(method, { ...params, ...inputs }, options)
      if (result['resultType'] !== 'input_required') return result
      const asked = Object.entries(fieldsOf(result['inputRequests']) ?? {})
      const inputResponses = Object.fromEntries(
        asked.map(([key, value]) => [
          key,
          answerAsked(String(fieldsOf(value)?.['method']), fieldsOf(fieldsOf(value)?.['params']) ?? {}, this.capabilities),
        ]),
      )
      const { requestState } = result
      inputs = { inputResponses, ...(requestState !== undefined && { requestState }) }
    }
    throw new Error('the server asks for ever')
  }

  async #once(method: string, params: Fields, { onNotification, signal, meta }: RequestOptions): Promise<Fields> {
    const id = this.#nextId++
    const response = await this.#post(id, method, params, meta, signal)
    for await (const message of messagesOf(response)) {
      if (message['id'] === id && message['method'] === undefined) return resultOf(message, true)
      if (message['id'] !== undefined) throw new Error(`a request of the server: ${JSON.stringify(message)}`)
      onNotification?.(String(message['method']), fieldsOf(message['params']) ?? {})
    }
    throw new Error(`no answer: HTTP ${response.status}`)
  }

  #post(id: number, method: string, params: Fields, meta: Fields = {}, signal?: AbortSignal): Promise<Response> {
    const _meta = {
      [`${META}protocolVersion`]: this.revision,
      [`${META}clientCapabilities`]: this.capabilities,
      [`${META}clientInfo`]: { name: 'dated', version: '1' },
      ...meta,
    }
    const name = params['name'] ?? params['uri'] ?? params['taskId']
    return fetch(this.#url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': this.revision,
        'mcp-method': method,
        ...(typeof name === 'string' && method !== 'completion/complete' && { 'mcp-name': name }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } }),
      signal: signal ?? null,
    })
  }

  batch(): Promise<Map<unknown, Fields>> {
    throw new Error('no batches in this revision')
  }

  async subscribe(uri: string): Promise<void> {
    const params = { notifications: { toolsListChanged: true, resourceSubscriptions: [uri] } }
    const response = await this.#post(this.#nextId++, 'subscriptions/listen', params, {}, this.#listening.signal)
    void this.#pump(response)
    await this.#heard.next('notifications/subscriptions/acknowledged')
  }

  async #pump(response: Response): Promise<void> {
    try {
      for await (const message of messagesOf(response)) this.#heard.add(String(message['method']), fieldsOf(message['params']) ?? {})
    } catch (thrown) {
      if (!this.#listening.signal.aborted) throw thrown
    }
  }

  heard(method: string): Promise<Fields> {
    return this.#heard.next(method)
  }

  async close(): Promise<void> {
    this.#listening.abort()
  }
}

/** What the two legacy transports have alike. */
abstract class LegacyClient implements DatedClient {
  readonly revision: string
  readonly capabilities: Fields
  readonly ended = new AbortController()
  readonly #heard = new Heard()
  readonly #waiting = new Map<unknown, { resolve: (message: Fields) => void; onNotification: RequestOptions['onNotification'] }>()
  #nextId = 1

  constructor(revision: string) {
    this.revision = revision
    this.capabilities = capabilitiesOf(revision)
  }

  /** Brings one message or a batch to the server; what comes back goes to `take`. */
  protected abstract send(body: Fields | Fields[]): Promise<void>

  protected async handshake(): Promise<void> {
    const clientInfo = { name: 'dated', version: '1' }
    const opened = await this.request('initialize', { protocolVersion: this.revision, capabilities: this.capabilities, clientInfo })
    if (opened['protocolVersion'] !== this.revision)
      throw new Error(`the server speaks ${String(opened['protocolVersion'])} to a client of ${this.revision}`)
    await this.send({ jsonrpc: '2.0', method: 'notifications/initialized' })
  }

  async request(method: string, params: Fields, { onNotification, signal, meta }: RequestOptions = {}): Promise<Fields> {
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<Fields>()
    this.#waiting.set(id, { resolve, onNotification })
    signal?.addEventListener('abort', () => {
      void this.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } })
      reject(new Error('cancelled'))
    })
    const withMeta = meta ? { ...params, _meta: meta } : params
    this.send({ jsonrpc: '2.0', id, method, params: withMeta }).catch(reject)
    return resultOf(await soon(`the answer to ${method}`, promise), false)
  }

  async batch(messages: Fields[]): Promise<Map<unknown, Fields>> {
    const answers = new Map<unknown, Fields>()
    const all = messages.map(({ id }) => {
      const { promise, resolve } = Promise.withResolvers<Fields>()
      this.#waiting.set(id, { resolve, onNotification: undefined })
      return promise.then((message) => answers.set(id, message))
    })
    await this.send(messages)
    await soon('the answers to the batch', Promise.all(all))
    return answers
  }

  protected take(message: Fields): void {
    const { id, method } = message
    const params = fieldsOf(message['params']) ?? {}
    if (method === undefined) {
      this.#waiting.get(id)?.resolve(message)
      this.#waiting.delete(id)
    } else if (id !== undefined) {
      void this.send({ jsonrpc: '2.0', id, ...this.#answer(String(method), params) })
    } else {
      const token = params['progressToken']
      const mine = [...this.#waiting.values()].find(({ onNotification }) => onNotification)
      if (mine && (token !== undefined || method === 'notifications/message')) mine.onNotification?.(String(method), params)
      else this.#heard.add(String(method), params)
    }
  }

  #answer(method: string, params: Fields): Fields {
    try {
      return { result: answerAsked(method, params, this.capabilities) }
    } catch (thrown) {
      const { code, message } = RpcError.of(thrown)
      return { error: { code, message } }
    }
  }

  async subscribe(uri: string): Promise<void> {
    const result = await this.request('resources/subscribe', { uri })
    if (Object.keys(result).length > 0) throw new Error('an empty result has no members')
  }

  heard(method: string): Promise<Fields> {
    return this.#heard.next(method)
  }

  async close(): Promise<void> {
    this.ended.abort()
  }

  protected async pump(response: Response): Promise<void> {
    try {
      for await (const message of messagesOf(response)) this.take(message)
    } catch (thrown) {
      if (!this.ended.signal.aborted) throw thrown
    }
  }
}

/** Streamable HTTP with a session. */
class SessionClient extends LegacyClient {
  readonly #url: URL
  readonly #token: string
  #session: string | undefined

  constructor(revision: string, url: URL, token: string) {
    super(revision)
    this.#url = url
    this.#token = token
  }

  static async open(revision: string, url: URL, token: string): Promise<SessionClient> {
    const client = new SessionClient(revision, url, token)
    await client.handshake()
    const response = await fetch(url, { headers: client.#headers('text/event-stream'), signal: client.ended.signal })
    if (response.status !== 200) throw new Error(`no stream: HTTP ${response.status}`)
    void client.pump(response)
    return client
  }

  #headers(accept: string): Record<string, string> {
    return {
      authorization: `Bearer ${this.#token}`,
      accept,
      ...(this.#session !== undefined && { 'mcp-session-id': this.#session }),
      ...(this.#session !== undefined && this.revision >= '2025-06-18' && { 'mcp-protocol-version': this.revision }),
    }
  }

  protected async send(body: Fields | Fields[]): Promise<void> {
    const headers = { ...this.#headers('application/json, text/event-stream'), 'content-type': 'application/json' }
    const response = await fetch(this.#url, { method: 'POST', headers, body: JSON.stringify(body), signal: this.ended.signal })
    this.#session ??= response.headers.get('mcp-session-id') ?? undefined
    if (response.status === 202) return void (await response.arrayBuffer())
    void this.pump(response)
  }

  override async close(): Promise<void> {
    await fetch(this.#url, { method: 'DELETE', headers: this.#headers('*/*') })
    await super.close()
  }
}

/** HTTP+SSE of 2024-11-05: one stream for all that the server says. */
class OldClient extends LegacyClient {
  readonly #token: string
  #endpoint: URL | undefined

  constructor(token: string) {
    super('2024-11-05')
    this.#token = token
  }

  static async open(url: URL, token: string): Promise<OldClient> {
    const client = new OldClient(token)
    const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' }
    const response = await fetch(url, { headers, signal: client.ended.signal })
    const found = Promise.withResolvers<void>()
    client.#onEndpoint = (endpoint) => {
      client.#endpoint = new URL(endpoint, url)
      found.resolve()
    }
    void client.pump(response)
    await soon('the endpoint event', found.promise)
    await client.handshake()
    return client
  }

  #onEndpoint: (endpoint: string) => void = () => undefined

  protected override take(message: Fields): void {
    if (typeof message['endpoint'] === 'string') this.#onEndpoint(message['endpoint'])
    else super.take(message)
  }

  protected async send(body: Fields | Fields[]): Promise<void> {
    if (!this.#endpoint) throw new Error('no endpoint yet')
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' }
    const response = await fetch(this.#endpoint, { method: 'POST', headers, body: JSON.stringify(body) })
    if (response.status !== 202) throw new Error(`HTTP ${response.status}: ${await response.text()}`)
  }
}
