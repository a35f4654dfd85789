import { lookup as systemLookup } from 'node:dns/promises'
import type { IncomingMessage } from 'node:http'
import { request as requestPlain } from 'node:http'
import { request } from 'node:https'
import { isIP } from 'node:net'
import { AppError } from './errors.ts'
import { isLoopbackAddress, isLoopbackHost } from './loopback.ts'
import { isPublicAddress } from './public-address.ts'

export interface GuardedFetchOptions {
  /** Also from this machine: for development and tests only. */
  allowLoopback?: boolean
  /** Origins that an administrator named: any address, and http. */
  trusted?: ReadonlySet<string> | undefined
  /** With `allowLoopback`: from there also by http. */
  allowPlainLoopback?: boolean
  /** PEM of an authority to trust instead of the usual ones. */
  ca?: string | undefined
  /** All addresses of a name. */
  lookup?: (hostname: string) => Promise<string[]>
  timeoutMs?: number
  maxBytes?: number
}

/** What is sent instead of a GET without a body. */
export interface GuardedPost {
  body: string
  headers: Readonly<Record<string, string>>
}

export interface Fetched {
  status: number
  headers: Record<string, string>
  body: Buffer
}

const TIMEOUT_MS = 5000
const MAX_BYTES = 32 * 1024

/**
 * Fetches what a stranger named, without becoming the stranger's hand in our network: https only, no address that is not public, the connection
 * goes to the address that was checked and to no other, no redirects, no credentials, bounds on time and size. A redirect comes back as it is.
 * Throws `permission_denied` for an address that is not fetched from, `unavailable` when it cannot be fetched.
 */
export async function fetchGuarded(url: URL, accept: string, options: GuardedFetchOptions = {}, post?: GuardedPost): Promise<Fetched> {
  if (!isAllowedScheme(url, options) || url.username !== '' || url.password !== '') throw refused(url)
  const signal = AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS)
  try {
    const address = await Promise.race([checkedAddress(url, options), aborted(signal)])
    return await exchange(url, address, { accept, post }, signal, options)
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('unavailable', `cannot fetch ${url.href.slice(0, 200)}`, { cause })
  }
}

/** Rejects once there is no time left. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('there was no answer in time')), { once: true })
  })
}

function isAllowedScheme(url: URL, { trusted, allowLoopback, allowPlainLoopback }: GuardedFetchOptions): boolean {
  if (url.protocol === 'https:') return true
  if (url.protocol !== 'http:') return false
  return trusted?.has(url.origin) === true || (allowLoopback === true && allowPlainLoopback === true && isLoopbackHost(url.hostname))
}

async function checkedAddress(url: URL, { allowLoopback = false, trusted, lookup = lookupAll }: GuardedFetchOptions): Promise<string> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const addresses = isIP(host) ? [host] : await lookup(host)
  const isTrusted = trusted?.has(url.origin) === true
  const isAllowed = (address: string): boolean => isTrusted || isPublicAddress(address) || (allowLoopback && isLoopbackAddress(address))
  const [first] = addresses
  // One that is not public is reason enough: an honest name has none.
  if (first === undefined || !addresses.every(isAllowed)) throw refused(url)
  return first
}

async function lookupAll(hostname: string): Promise<string[]> {
  return (await systemLookup(hostname, { all: true })).map(({ address }) => address)
}

function exchange(
  url: URL,
  address: string,
  { accept, post }: { accept: string; post: GuardedPost | undefined },
  signal: AbortSignal,
  options: GuardedFetchOptions,
): Promise<Fetched> {
  const isPlain = url.protocol === 'http:'
  const defaultPort = isPlain ? 80 : 443
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return new Promise((resolve, reject) => {
    const sent = (isPlain ? requestPlain : request)(
      {
        host: address,
        port: url.port === '' ? defaultPort : Number(url.port),
        path: url.pathname + url.search,
        method: post ? 'POST' : 'GET',
        headers: {
          host: url.host,
          accept,
          'user-agent': 'sallyport',
          ...(post && { ...post.headers, 'content-length': String(Buffer.byteLength(post.body)) }),
        },
        ...(isIP(host) === 0 && { servername: host }),
        ...(options.ca !== undefined && { ca: options.ca }),
        agent: false,
        signal,
      },
      (response) => {
        readBody(response, options.maxBytes ?? MAX_BYTES).then(
          (body) => resolve({ status: response.statusCode ?? 0, headers: headersOf(response), body }),
          (cause: unknown) => {
            sent.destroy()
            reject(cause instanceof Error ? cause : new Error('the body cannot be read', { cause }))
          },
        )
      },
    )
    sent.on('error', reject)
    sent.end(post?.body)
  })
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('the answer is read as text')
    size += chunk.length
    if (size > maxBytes) throw new Error(`the document is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined || name === 'set-cookie' ? [] : [[name, String(value)]])),
  )
}

function refused(url: URL): AppError {
  return new AppError('permission_denied', `documents are not fetched from ${url.origin}: it has to be a public https address`)
}
