import { join } from 'node:path'
import { z } from 'zod'
import { parseProxyAddress, type ProxyAddress, renderProxyAddress } from '../../client/proxy-address.ts'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { ResourceFeed } from '../../resources/feed.ts'

export interface KnownProxy {
  id: string
  /** Undefined for one that says no address, or none that can be read. */
  address: ProxyAddress | undefined
}

/** Of one cluster. An agent has a tunnel to each. */
const MAX_PROXIES = 64
const FILE = 'proxies.json'

/** The proxies that have told of themselves, the first of them when there are too many. */
export function listProxies(feed: ResourceFeed): KnownProxy[] {
  return feed
    .list('proxy')
    .slice(0, MAX_PROXIES)
    .map(({ metadata, spec }) => ({ id: metadata.name, address: readAddress(spec.tunnel_addr) }))
}

function readAddress(text: string | undefined): ProxyAddress | undefined {
  try {
    return text === undefined ? undefined : parseProxyAddress(text)
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined // as good as none
    throw thrown
  }
}

/** The addresses that proxies told of, for when the way in leads nowhere: in a file, since that may be so when the agent starts. */
export class KnownProxies {
  readonly #path: string
  readonly #log: Logger
  #addresses: readonly string[]
  #writing: Promise<void> = Promise.resolve()

  static async open(directory: string, log: Logger): Promise<KnownProxies> {
    const path = join(directory, FILE)
    return new KnownProxies(path, log, parse(await readTextIfPresent(path)))
  }

  private constructor(path: string, log: Logger, addresses: readonly string[]) {
    this.#path = path
    this.#log = log
    this.#addresses = addresses
  }

  list(): ProxyAddress[] {
    return this.#addresses.flatMap((text) => readAddress(text) ?? [])
  }

  /** Keeps up with the feed; returns what ends that, and settles when the file is written. */
  follow(feed: ResourceFeed): () => Promise<void> {
    this.#learn(feed)
    const unsubscribe = feed.subscribe((change) => {
      if (change.type !== 'revoked' && change.kind === 'proxy') this.#learn(feed)
    })
    return async () => {
      unsubscribe()
      await this.#writing
    }
  }

  #learn(feed: ResourceFeed): void {
    const addresses = [...new Set(listProxies(feed).flatMap(({ address }) => (address ? [renderProxyAddress(address)] : [])))]
    // Those of before are better than none.
    if (addresses.length === 0 || addresses.join() === this.#addresses.join()) return
    this.#addresses = addresses
    this.#writing = this.#writing
      .then(() => writeFileAtomic(this.#path, `${JSON.stringify(addresses)}\n`, { mode: 0o600 }))
      .catch((thrown: unknown) => this.#log.warn('the addresses of the proxies could not be kept', { error: String(thrown) }))
  }
}

/** A file that is damaged is written anew. */
function parse(text: string | undefined): string[] {
  if (text === undefined) return []
  try {
    return z.array(z.string()).max(MAX_PROXIES).parse(JSON.parse(text))
  } catch {
    return []
  }
}
