import { Agent as HttpAgent, request as requestHttp } from 'node:http'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import type { AgentOptions as HttpsAgentOptions } from 'node:https'
import { isIP } from 'node:net'
import { PassThrough } from 'node:stream'
import type { Duplex } from 'node:stream'
import { connect as connectTls, getCACertificates } from 'node:tls'
import { AppError } from '../lib/errors.ts'
import { isLoopbackProxy, renderProxyAddress } from './proxy-address.ts'
import type { ProxyAddress } from './proxy-address.ts'

export interface ProxyHttpOptions {
  proxy: ProxyAddress
  /** CA certificates (PEM) of the cluster's hosts; the system's own are accepted beside them. */
  authorities: readonly string[]
  /** Presented to the server: a person's, bot's or host's key and certificate, PEM. */
  credentials?: { key: string; certificate: string } | undefined
  alpn: readonly string[]
  /** Does not check who the server is. */
  insecure?: boolean | undefined
  /** False: nothing but `authorities` counts, not even the system's CAs. */
  acceptSystemAuthorities?: boolean
}

export interface ProxyRequest {
  method: string
  path: string
  headers: Record<string, string>
  body?: Uint8Array | string | undefined
  /** Ends the request, also while its answer is being read. */
  signal: AbortSignal
  /** True: sending it twice does no harm. A kept connection may be closed by the other side just when it is used again. */
  repeatable?: boolean
  /** Called when the whole request is handed to the system. */
  onSent?: () => void
}

/** HTTP/1.1 to one proxy over verified TLS; connections are kept for reuse and do not keep the process alive. */
export interface ProxyHttp {
  /** The head of the answer; failures are `AppError`s that name the proxy and what to do. */
  send(request: ProxyRequest): Promise<IncomingMessage>
  close(): void
}

/**
 * Opens nothing yet. The server's certificate must be for the proxy's host and come from `authorities` or a CA the system trusts.
 * A loopback proxy that does not speak TLS at all is spoken to in plain HTTP, unless authorities are pinned.
 */
export function createProxyHttp(options: ProxyHttpOptions): ProxyHttp {
  const agents = createAgents(options)
  let route: 'pinned' | 'system' | 'plain' = options.authorities.length > 0 || options.insecure ? 'pinned' : 'system'

  async function send(request: ProxyRequest): Promise<IncomingMessage> {
    const taken = route
    try {
      return await attempt(agents[taken](), taken === 'plain', options.proxy, request)
    } catch (thrown) {
      const next = fallback(taken, thrown, options)
      if (!next || request.signal.aborted) throw describeFailure(thrown, options.proxy)
      route = next
      return await attempt(agents[next](), next === 'plain', options.proxy, request).catch((again: unknown) => {
        if (next === 'system') route = taken
        throw describeFailure(next === 'system' ? thrown : again, options.proxy)
      })
    }
  }

  return { send, close: () => agents.close() }
}

/** Where to try next after a failure before any byte of the request was sent. */
function fallback(taken: 'pinned' | 'system' | 'plain', thrown: unknown, options: ProxyHttpOptions): 'system' | 'plain' | undefined {
  if (taken === 'pinned' && !options.insecure && options.acceptSystemAuthorities !== false && isUntrusted(thrown)) return 'system'
  if (taken !== 'plain' && options.authorities.length === 0 && isLoopbackProxy(options.proxy) && speaksNoTls(thrown)) return 'plain'
  return undefined
}

function createAgents(options: ProxyHttpOptions) {
  const made: (HttpAgent | HttpsAgent)[] = []
  const keep = <T extends HttpAgent | HttpsAgent>(agent: T): T => {
    made.push(agent)
    return agent
  }
  const { open } = options.proxy
  const tls = (ca: string[]) =>
    createAgent(open, {
      keepAlive: true,
      ca,
      ALPNProtocols: [...options.alpn],
      minVersion: 'TLSv1.2',
      rejectUnauthorized: !options.insecure,
      ...(options.credentials ? { key: options.credentials.key, cert: options.credentials.certificate } : {}),
    })
  const once = <T>(make: () => T) => {
    let value: T | undefined
    return () => (value ??= make())
  }
  return {
    pinned: once(() => keep(tls([...options.authorities]))),
    system: once(() => keep(tls([...options.authorities, ...getCACertificates('default'), ...getCACertificates('system')]))),
    plain: once(() => keep(new HttpAgent({ keepAlive: true }))),
    close: () => {
      for (const agent of made) agent.destroy()
    },
  }
}

/** An agent whose connections go another way, if there is one. */
function createAgent(way: ProxyAddress['open'], options: HttpsAgentOptions): HttpsAgent {
  if (!way) return new HttpsAgent(options)
  return new (class extends HttpsAgent {
    override createConnection({ host }: RequestOptions, done?: (error: Error | null, stream: Duplex) => void): undefined {
      void this.#connect(host ?? '', done)
      return undefined
    }

    async #connect(host: string, done?: (error: Error | null, stream: Duplex) => void): Promise<void> {
      let socket: Duplex
      try {
        socket = await way(AbortSignal.timeout(OPEN_MS))
      } catch (thrown) {
        return done?.(thrown instanceof Error ? thrown : new Error(String(thrown)), new PassThrough().destroy())
      }
      done?.(null, connectTls({ ...options, socket, host, ...(isIP(host) === 0 && { servername: host }) }))
    }
  })(options)
}

const OPEN_MS = 30_000

function attempt(agent: HttpAgent | HttpsAgent, plain: boolean, proxy: ProxyAddress, wanted: ProxyRequest): Promise<IncomingMessage> {
  const length = wanted.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(wanted.body)) }
  const options: RequestOptions = {
    agent,
    host: proxy.host,
    port: proxy.port,
    method: wanted.method,
    path: wanted.path,
    headers: { host: renderProxyAddress(proxy), ...wanted.headers, ...length },
    signal: wanted.signal,
  }
  return new Promise((fulfil, reject) => {
    const request = plain ? requestHttp(options) : requestHttps(options)
    request.on('response', fulfil)
    request.on('error', (thrown) => {
      const closedBefore = request.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(codeOf(thrown))
      if (closedBefore && wanted.repeatable) attempt(agent, plain, proxy, wanted).then(fulfil, reject)
      else reject(thrown)
    })
    request.on('finish', () => wanted.onSent?.())
    request.end(wanted.body)
  })
}

const UNTRUSTED = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
])

/** Whether TLS failed because no trusted CA vouches for the server. */
export function isUntrusted(thrown: unknown): boolean {
  const code = codeOf(thrown instanceof AppError ? thrown.cause : thrown)
  return UNTRUSTED.has(code)
}

function speaksNoTls(thrown: unknown): boolean {
  return /^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNEXPECTED_MESSAGE|HTTP_REQUEST))$/.test(codeOf(thrown))
}

/** The failure of a connection as the caller should read it; `details.network` tells a passing fault of the network from others. */
export function describeFailure(thrown: unknown, proxy: ProxyAddress): AppError {
  if (thrown instanceof AppError) return thrown
  const where = renderProxyAddress(proxy)
  const code = codeOf(thrown)
  const fail = (message: string, network = true) => new AppError('unavailable', message, { cause: thrown, details: { network } })
  if (code === 'ABORT_ERR' || code === 'TIMEOUT') {
    const cause = thrown instanceof Error ? thrown.cause : undefined
    if (cause instanceof Error && cause.name === 'TimeoutError')
      return new AppError('deadline_exceeded', `${where} did not answer in time: check that the proxy is running and reachable`, {
        cause: thrown,
        details: { network: true },
      })
    return new AppError('cancelled', 'the request was cancelled', { cause: thrown })
  }
  if (code === 'ECONNREFUSED') return fail(`nothing listens on ${where}: check the address and that the proxy is running`)
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return fail(`the name of ${where} cannot be resolved: check the spelling and the network`)
  if (code === 'ETIMEDOUT' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return fail(`${where} cannot be reached (${code}): check the network`)
  if (UNTRUSTED.has(code))
    return fail(
      `the certificate of ${where} is not from a trusted authority: sign in again with tsh login --proxy=${where} --ca-pin=… (tctl status shows the pin)`,
      false,
    )
  if (code === 'CERT_HAS_EXPIRED') return fail(`the certificate of ${where} has expired: its administrator has to renew it`, false)
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return fail(`the certificate of ${where} is for another name: use the proxy's public address`, false)
  if (speaksNoTls(thrown)) return fail(`${where} does not speak TLS: check the port`, false)
  return fail(`the connection to ${where} failed (${code || 'unknown'}): try again`)
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
}
