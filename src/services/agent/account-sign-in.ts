import { AppError } from '../../lib/errors.ts'
import { type Fields, fieldsOf, renderRpcError } from '../../mcp/message.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../../mcp/upstream/upstream.ts'

/** What a client may answer a question about (2026-07-28, input_required). */
const ASKABLE: ReadonlySet<string | undefined> = new Set(['tools/call', 'prompts/get', 'resources/read'])
/** MCP 2025-11-25, URLElicitationRequiredError. */
const URL_REQUIRED = -32042
const QUESTION = 'sallyport_account'

/**
 * A server where callers have accounts of their own. Where one has none, requests are answered with the address to sign in at, in the way that the
 * client knows: as a question with a URL, else as the text of a result or an error. Once the person is there, the same session goes on.
 */
export function withSignIn(upstream: Upstream): Upstream {
  return { ...upstream, open: (options) => openLate(upstream, options), close: () => upstream.close() }
}

async function openLate(upstream: Upstream, options: OpenOptions): Promise<UpstreamSession> {
  const ended = Promise.withResolvers<string>()
  const closing = new AbortController()
  let opened: UpstreamSession | undefined
  let opening: Promise<UpstreamSession> | undefined
  let capabilities: Fields | undefined
  const openNow = async (): Promise<UpstreamSession> => {
    const session = await upstream.open(options)
    if (closing.signal.aborted) {
      await session.close()
      throw new AppError('cancelled', 'the session was closed')
    }
    opened = session
    void session.ended.then(ended.resolve)
    return session
  }
  const get = async (): Promise<UpstreamSession> => {
    opening ??= openNow().catch((thrown: unknown) => {
      opening = undefined
      throw thrown
    })
    return await opening
  }
  await get().catch((thrown: unknown) => {
    if (accountUrlOf(thrown) === undefined) throw thrown
  })
  return {
    ended: ended.promise,
    get externalId() {
      return opened?.externalId
    },
    get isWaiting() {
      return opened?.isWaiting === true
    },
    async send(message, signal) {
      if (message.method === 'initialize') capabilities = fieldsOf(paramsOf(message)['capabilities'])
      try {
        return await (await get()).send(message, signal)
      } catch (thrown) {
        const url = accountUrlOf(thrown)
        if (url === undefined || !(thrown instanceof AppError)) throw thrown
        return askToSignIn(message, options.era, capabilities, url, thrown)
      }
    },
    listen: async (headers, signal) => await (await get()).listen(headers, signal),
    async close() {
      closing.abort()
      await opened?.close()
    },
  }
}

function accountUrlOf(thrown: unknown): string | undefined {
  const url = thrown instanceof AppError ? thrown.details?.['account_url'] : undefined
  return typeof url === 'string' ? url : undefined
}

function askToSignIn(message: Outgoing, era: 'legacy' | 'modern', capabilities: Fields | undefined, url: string, error: AppError): Reply {
  const { message: text } = error
  const isModern = era === 'modern'
  const declared = isModern ? fieldsOf(fieldsOf(paramsOf(message)['_meta'])?.['io.modelcontextprotocol/clientCapabilities']) : capabilities
  const knowsUrls = fieldsOf(fieldsOf(declared?.['elicitation'])?.['url']) !== undefined
  if (message.kind === 'request' && message.method !== 'initialize') {
    const question = { mode: 'url', url, message: text }
    if (knowsUrls && isModern && ASKABLE.has(message.method)) {
      const inputRequests = { [QUESTION]: { method: 'elicitation/create', params: question } }
      return resultOf(message, { resultType: 'input_required', inputRequests })
    }
    if (knowsUrls && !isModern) {
      const elicitations = [{ ...question, elicitationId: `${QUESTION}:${url}` }]
      return { kind: 'message', bytes: renderRpcError(message.id, URL_REQUIRED, text, { elicitations }) }
    }
    if (message.method === 'tools/call')
      return resultOf(message, { ...(isModern && { resultType: 'complete' }), content: [{ type: 'text', text }], isError: true })
  }
  throw new AppError(error.code, text, { details: { http: 200, rpc: -32603 }, cause: error })
}

function resultOf({ id = 'null' }: Outgoing, result: object): Reply {
  return { kind: 'message', bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":${JSON.stringify(result)}}`) }
}

/** It was judged before: it is an object. */
function paramsOf({ bytes }: Outgoing): Fields {
  return fieldsOf(fieldsOf(JSON.parse(bytes.toString()))?.['params']) ?? {}
}
