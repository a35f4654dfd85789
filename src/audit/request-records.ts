import { IsoTimes } from '../lib/iso-time.ts'
import { buildEvent, buildFields, calledTool, cutText, fitsSurely, MAX_SENSITIVE_BYTES, shapeMessage } from './build-event.ts'
import type { BuildOptions } from './build-event.ts'
import type { EventFields } from './event.ts'
import { EVENTS } from './events.ts'

const TYPE = 'mcp.session.request'
const SENSITIVE = { maxBytes: MAX_SENSITIVE_BYTES }

/** Fields of every event of a session. */
export type SessionFields = Omit<EventFields, 'message' | 'tool' | 'decision'>

/** What the end of a request adds to its event. */
export type RequestEnd = Pick<EventFields, 'success' | 'error' | 'result_bytes' | 'latency_ms' | 'answer'>

/**
 * The two records of each request of one MCP session, as JSON text: the same fields as `buildEvent` and `buildFields` give, but what is the
 * same for all requests of the session is rendered once. `JournalRequests` joins them by the form they have here.
 */
export class RequestRecords {
  readonly #session: SessionFields
  readonly #options: BuildOptions
  readonly #cluster: string
  /** `"sid":"…",…`; as it was when `#uri` was what the redactor left of the server's address. */
  #sessionText = ''
  #uri: unknown
  #by: string | null | undefined
  #decisionText = ''
  readonly #times = new IsoTimes()

  /** @param session fields of every event of the session, of which only `app_uri` is sensitive. */
  constructor(session: SessionFields, options: BuildOptions) {
    this.#session = session
    this.#options = options
    this.#cluster = JSON.stringify(options.cluster)
  }

  /** The event of a request that was allowed and is about to leave. `ei` is its place in the session. */
  start(message: EventFields['message'], decision: { allow: true; by: string | null }, ei: number): { uid: string; text: string } {
    const { ids, now, redactor } = this.#options
    const uid = ids.uuidv7()
    const tool = calledTool(message)
    const text =
      `{"event":"${TYPE}","code":"${EVENTS[TYPE].code.success}","time":"${this.#times.render(now())}","uid":"${uid}","ei":${ei},` +
      `${tool === undefined ? '' : `"tool":${JSON.stringify(cutText(tool))},`}"cluster_name":${this.#cluster},${this.#renderSession()}` +
      `"message":${renderMessage(shapeMessage(message, redactor))},"decision":${this.#renderDecision(decision)}}`
    if (fitsSurely(text.length)) return { uid, text }
    // Rare and large: it may have to be cut down.
    const event = buildEvent(TYPE, { ...this.#session, message, decision, ei }, this.#options)
    return { uid: event.uid, text: JSON.stringify(event) }
  }

  end({ success, error, result_bytes, latency_ms, answer }: RequestEnd): string {
    const { redactor } = this.#options
    let text = `{"success":${success}`
    if (result_bytes !== undefined) text += `,"result_bytes":${JSON.stringify(result_bytes)}`
    if (latency_ms !== undefined) text += `,"latency_ms":${JSON.stringify(latency_ms)}`
    if (error !== undefined) text += `,"error":${JSON.stringify(redactor.value(error, SENSITIVE))}`
    if (answer !== undefined) text += `,"answer":${JSON.stringify(redactor.value(answer, SENSITIVE))}`
    return `${text}}`
  }

  /** A secret may have become known since the last time. */
  #renderSession(): string {
    const uri = this.#session.app_uri === undefined ? '' : this.#options.redactor.value(this.#session.app_uri, SENSITIVE)
    if (uri !== this.#uri) {
      this.#uri = uri
      const text = JSON.stringify(buildFields(TYPE, this.#session, this.#options)).slice(1, -1)
      this.#sessionText = text === '' ? '' : `${text},`
    }
    return this.#sessionText
  }

  #renderDecision({ by }: { by: string | null }): string {
    if (by !== this.#by) {
      this.#by = by
      this.#decisionText = JSON.stringify(buildFields(TYPE, { decision: { allow: true, by } }, this.#options).decision)
    }
    return this.#decisionText
  }
}

/** Member by member: a text that was put together is written the slow way, and everything beside it in the same object. */
function renderMessage({ jsonrpc, method, id, params }: NonNullable<EventFields['message']> = {}): string {
  let text = ''
  if (jsonrpc !== undefined) text += `,"jsonrpc":${JSON.stringify(jsonrpc)}`
  if (method !== undefined) text += `,"method":${JSON.stringify(method)}`
  if (id !== undefined) text += `,"id":${JSON.stringify(id)}`
  if (params !== undefined) text += `,"params":${JSON.stringify(params)}`
  return `{${text.slice(1)}}`
}
