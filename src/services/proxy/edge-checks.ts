import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { AppError } from '../../lib/errors.ts'
import { checkHost, checkOrigin } from '../../lib/loopback.ts'

/** Hosts that were found to be ours: few, unless somebody tries names. */
const MAX_KNOWN = 100

/**
 * Host and Origin of every request, against DNS rebinding (a page that points its own name at our address). Without a configured name a TLS
 * connection may use any: the certificate has told that name apart already.
 */
export class EdgeChecks {
  readonly #own: readonly string[]
  readonly #takesAnyName: boolean
  /** `Host` headers that passed on a connection of this kind; what was refused is judged anew each time. */
  readonly #known = { plain: new Set<string>(), tls: new Set<string>() }

  /** @param publicAddresses `HOST:PORT` values clients reach us by; loopback names are always among them. */
  constructor(publicAddresses: readonly string[]) {
    this.#own = ['localhost', ...publicAddresses]
    this.#takesAnyName = publicAddresses.length === 0
  }

  /**
   * @param isOpenToPages whether pages of other sites may ask, too: what is served there says nothing that a page may not know.
   * @throws AppError invalid_argument for two Hosts or a coding that nobody here undoes, permission_denied for one that is not ours or a page that may not call us.
   */
  check(request: IncomingMessage, isOpenToPages = false): void {
    if (countHeader(request, 'host') > 1) throw new AppError('invalid_argument', 'a request has one Host')
    checkCoding(request.headers['transfer-encoding'])
    this.checkNames(request.headers, request.socket instanceof TLSSocket, isOpenToPages)
  }

  /** The same for headers of which none was sent twice. */
  checkNames({ host, origin }: Names, isTls: boolean, isOpenToPages = false): void {
    const known = isTls ? this.#known.tls : this.#known.plain
    if (host === undefined || !known.has(host)) {
      if (!checkHost(host, this.#allowed(host, isTls)))
        throw new AppError('permission_denied', 'this Host is not served here: set proxy_service.public_addr')
      if (host !== undefined && known.size < MAX_KNOWN) known.add(host)
    }
    if (origin !== undefined && !isOpenToPages && !checkOrigin(origin, this.#allowed(host, isTls)))
      throw new AppError('permission_denied', 'pages of this Origin may not call this proxy')
  }

  #allowed(host: string | undefined, isTls: boolean): readonly string[] {
    return isTls && this.#takesAnyName && host !== undefined ? [...this.#own, host] : this.#own
  }
}

/** Node takes off the chunks and leaves what was done before, so that another reader would find another body (RFC 9112, section 6.1: 501). */
function checkCoding(coding: string | undefined): void {
  if (coding === undefined || coding.trim().toLowerCase() === 'chunked') return
  throw new AppError('unimplemented', 'of transfer codings only chunked is understood', { details: { http: 501, close: true } })
}

type Names = Readonly<{ host?: string | undefined; origin?: string | undefined }>

/** How often a header was sent; `name` in lower case. Node keeps the first of some headers, another reader could keep the last. */
export function countHeader({ rawHeaders }: IncomingMessage, name: string): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const sent = rawHeaders[at]
    if (sent !== undefined && sent.length === name.length && sent.toLowerCase() === name) count++
  }
  return count
}
