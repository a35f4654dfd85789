export type Fields = Record<string, unknown>

export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
}

export class RpcError extends Error {
  readonly code: number
  readonly data: Fields | undefined
  constructor(code: number, message: string, data?: Fields) {
    super(message)
    this.code = code
    this.data = data
  }

  static of(thrown: unknown): RpcError {
    return thrown instanceof RpcError ? thrown : new RpcError(-32603, String(thrown))
  }
}

/** A modern server cannot ask: it answers that it needs something, and is called again. */
export class NeedsInput extends Error {
  readonly key: string
  readonly method: string
  readonly params: Fields
  constructor(key: string, method: string, params: Fields) {
    super(`input required: ${key}`)
    this.key = key
    this.method = method
    this.params = params
  }
}

/** One request that a server works on. */
export interface Turn {
  revision: string
  /** Of the client. */
  capabilities: Fields
  logLevel: unknown
  signal: AbortSignal
  notify(method: string, params: Fields): void
  /** What the client answers. */
  ask(key: string, method: string, params: Fields): Promise<Fields>
  onCancelled(): void
}

const text = (value: string): Fields => ({ content: [{ type: 'text', text: value }] })
const since = (turn: Turn, revision: string): boolean => turn.revision >= revision

/** What every server of these tests answers, whatever its revision and transport. */
export async function answer(method: string, params: Fields, turn: Turn): Promise<Fields> {
  const serve = Object.hasOwn(METHODS, method) ? METHODS[method] : undefined
  if (!serve) throw new RpcError(-32601, `Method not found: ${method}`)
  return serve(params, turn)
}

const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  logging: {},
}

const legacyOnly =
  (serve: (params: Fields, turn: Turn) => Fields) =>
  async (params: Fields, turn: Turn): Promise<Fields> => {
    if (turn.revision === '2026-07-28') throw new RpcError(-32601, 'Method not found')
    return serve(params, turn)
  }

const METHODS: Record<string, (params: Fields, turn: Turn) => Promise<Fields>> = {
  initialize: legacyOnly((_params, turn) => ({
    protocolVersion: turn.revision,
    capabilities: {
      ...CAPABILITIES,
      ...(since(turn, '2025-03-26') && { completions: {} }),
      ...(since(turn, '2025-11-25') && { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }),
    },
    serverInfo: { name: 'dated', version: '1' },
    instructions: 'Call it.',
  })),
  'server/discover': async (_params, turn) => {
    if (turn.revision !== '2026-07-28') throw new RpcError(-32601, 'Method not found')
    return {
      supportedVersions: ['2026-07-28'],
      capabilities: { ...CAPABILITIES, completions: {}, extensions: { 'io.modelcontextprotocol/tasks': {} } },
      instructions: 'Call it.',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'dated', version: '1' } },
    }
  },
  ping: legacyOnly(() => ({})),
  'logging/setLevel': legacyOnly(() => ({})),
  'resources/subscribe': legacyOnly(() => ({})),
  'resources/unsubscribe': legacyOnly(() => ({})),
  'tools/list': async () => ({ tools: Object.keys(TOOLS).map((name) => ({ name, inputSchema: { type: 'object' } })) }),
  'tools/call': async (params, turn) => {
    const tool = TOOLS[String(params['name'])]
    if (!tool) throw new RpcError(-32602, `Unknown tool: ${String(params['name'])}`)
    return tool(fieldsOf(params['arguments']) ?? {}, turn, fieldsOf(params['_meta']) ?? {})
  },
  'prompts/list': async () => ({ prompts: [{ name: 'greet', arguments: [{ name: 'who' }] }] }),
  'prompts/get': async (params) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Hello ${String(fieldsOf(params['arguments'])?.['who'])}` } }],
  }),
  'resources/list': async () => ({ resources: [{ uri: 'note://one', name: 'one' }] }),
  'resources/templates/list': async () => ({ resourceTemplates: [{ uriTemplate: 'note://{name}', name: 'notes' }] }),
  'resources/read': async (params, turn) => {
    const { uri } = params
    if (uri === 'note://one') return { contents: [{ uri, text: 'a note' }] }
    throw new RpcError(turn.revision === '2026-07-28' ? -32602 : -32002, 'Resource not found', { uri })
  },
  'completion/complete': async (params) => ({
    completion: { values: [`${String(fieldsOf(params['argument'])?.['value'])}da`], total: 1, hasMore: false },
  }),
}

const TOOLS: Record<string, (args: Fields, turn: Turn, meta: Fields) => Promise<Fields>> = {
  echo: async ({ text: value }) => text(String(value)),
  fail: async () => ({ ...text('it failed'), isError: true }),
  /** Content of every kind that the revision has. */
  show: async (_args, turn) => ({
    content: [
      { type: 'text', text: 'shown' },
      { type: 'image', data: 'AAAA', mimeType: 'image/png' },
      { type: 'resource', resource: { uri: 'note://one', text: 'a note' } },
      ...(since(turn, '2025-03-26') ? [{ type: 'audio', data: 'AAAA', mimeType: 'audio/wav' }] : []),
      ...(since(turn, '2025-06-18') ? [{ type: 'resource_link', uri: 'note://one', name: 'one' }] : []),
    ],
    ...(since(turn, '2025-06-18') && { structuredContent: { shown: true } }),
  }),
  progress: async (_args, turn, meta) => {
    for (const progress of [1, 2]) turn.notify('notifications/progress', { progressToken: meta['progressToken'], progress, total: 2 })
    return text('done')
  },
  log: async (_args, turn) => {
    if (turn.logLevel !== undefined) turn.notify('notifications/message', { level: 'warning', data: 'a warning' })
    return text('logged')
  },
  wait: async (_args, turn, meta) => {
    turn.notify('notifications/progress', { progressToken: meta['progressToken'], progress: 1 })
    await new Promise<void>((resolve) => turn.signal.addEventListener('abort', () => resolve(), { once: true }))
    turn.onCancelled()
    throw new RpcError(-32603, 'cancelled')
  },
  sample: async (_args, turn) => {
    const asked = { messages: [{ role: 'user', content: { type: 'text', text: 'Think.' } }], maxTokens: 10 }
    const given = await turn.ask('thought', 'sampling/createMessage', asked)
    return text(`the model said ${String(fieldsOf(given['content'])?.['text'])}`)
  },
  elicit: async (_args, turn) => {
    const requestedSchema = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
    const mode = since(turn, '2025-11-25') ? { mode: 'form' } : {}
    const given = await turn.ask('name', 'elicitation/create', { ...mode, message: 'Your name?', requestedSchema })
    return text(`${String(given['action'])} ${String(fieldsOf(given['content'])?.['name'])}`)
  },
  visit: async (_args, turn) => {
    const id = turn.revision === '2025-11-25' ? { elicitationId: 'visit-1' } : {}
    const given = await turn.ask('visit', 'elicitation/create', { mode: 'url', ...id, message: 'Go there', url: 'https://example.com/go' })
    return text(String(given['action']))
  },
  roots: async (_args, turn) => {
    const { roots } = await turn.ask('roots', 'roots/list', {})
    return text(Array.isArray(roots) ? roots.map((root) => String(fieldsOf(root)?.['uri'])).join() : 'none')
  },
}
