import { randomBytes } from 'node:crypto'
import { lstatSync } from 'node:fs'
import { chmod, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { dirname } from 'node:path'
import { generateKeyPair } from '../../ca/keys.ts'
import type { Connection } from '../../client/credentials.ts'
import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import type { McpEndpoint } from '../../client/mcp-endpoint.ts'
import { startMcpForwarder } from '../../client/mcp-forwarder.ts'
import type { McpEndpoints, McpForwarder } from '../../client/mcp-forwarder.ts'
import { AppError } from '../../lib/errors.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import type { Logger } from '../../lib/log.ts'
import type { BotService } from './bot-service.ts'
import type { BotCluster, Issued } from './cluster.ts'
import type { NamedService } from './config.ts'
import type { Destination } from './destination.ts'
import { explainFault, openDirectory } from './open-directory.ts'
import { parseListen } from './service.ts'
import type { ListenAddress, McpConfig } from './service.ts'

export interface McpServiceOptions {
  cluster: Pick<BotCluster, 'issueOutput'>
  /** A connection to the cluster as this identity. */
  connect: (identity: Issued) => Connection
  /** Where the token goes that clients of a port send. */
  destination: Destination | undefined
  uid: number
  gid: number
  log: Logger
  now: () => number
}

export const TOKEN_FILE = 'mcp-token'
/** So many servers are kept with their connections. */
const MAX_ENDPOINTS = 256

/**
 * A local MCP endpoint, `/mcp/apps/NAME` for each server and `/mcp` for all as one, that carries the credentials of the moment: they stay in memory. On a socket the file
 * system says who may use it (mode 0600), on a port of loopback a token.
 */
export function createMcpService(config: NamedService & McpConfig, options: McpServiceOptions): BotService {
  const { cluster, destination, log, now } = options
  const listen = parseListen(config.listen)
  let held: Issued | undefined
  let forwarder: McpForwarder | undefined
  const endpoints = createEndpoints(async () => {
    if (!held) throw new AppError('unavailable', 'tbot has no credentials yet: see its log and /readyz')
    if (held.expiresAt <= now()) throw new AppError('unavailable', 'the credentials of tbot have ended: see its log and /readyz')
    return options.connect(held)
  }, now)

  return {
    name: config.name,
    intervalMs: config.intervalMs,
    async open() {
      if ('path' in listen) await prepareSocket(listen.path, options)
      const token = 'path' in listen ? undefined : await findToken(destination)
      forwarder = await startMcpForwarder({ endpoint: endpoints, listen, token, log: (line) => log.debug(line, { service: config.name }) })
      if ('path' in listen) await chmod(listen.path, 0o600)
      log.info('serving MCP', { service: config.name, listen: addressOf(listen, forwarder.port) })
    },
    async renew(own) {
      const { privateKey } = await generateKeyPair()
      const ttlSeconds = Math.floor(config.ttlMs / 1000)
      held = await cluster.issueOutput(own, { roles: config.roles, ttlSeconds, allowReissue: false, privateKey })
      return { expiresAt: held.expiresAt }
    },
    close: async () => await forwarder?.close(),
  }
}

function createEndpoints(open: () => Promise<Connection>, now: () => number): McpEndpoints {
  const known = new Map<string, McpEndpoint>()
  return {
    at(path) {
      const place = findMcpEndpoint(path)
      if (!place)
        throw new AppError('not_found', 'MCP servers are at /mcp/apps/NAME, all as one at /mcp, those of a set at /mcp/sets/NAME', {
          details: { http: 404 },
        })
      const key = renderMcpEndpoint(place)
      const found = known.get(key) ?? createMcpEndpoint({ ...(place.type === 'app' ? { server: place.name } : { path: key }), open, now })
      // In the order of their last use: a client that makes up names costs nobody a server that is used.
      known.delete(key)
      known.set(key, found)
      const [oldest] = known
      if (known.size > MAX_ENDPOINTS && oldest) {
        known.delete(oldest[0])
        oldest[1].close()
      }
      return found
    },
    close() {
      for (const endpoint of known.values()) endpoint.close()
    },
  }
}

/** The same as before, so that clients need not read it again. */
async function findToken(destination: Destination | undefined): Promise<string> {
  if (!destination) throw new AppError('internal', 'a port of loopback without a token')
  const before = (await destination.read(TOKEN_FILE))?.trim()
  if (before !== undefined && /^[A-Za-z0-9_-]{43}$/.test(before)) return before
  const token = randomBytes(32).toString('base64url')
  await destination.write(new Map([[TOKEN_FILE, `${token}\n`]]))
  return token
}

/** The directory must be one that nobody else can change; what a killed process left there is removed, unless somebody listens. */
async function prepareSocket(path: string, { uid, gid }: McpServiceOptions): Promise<void> {
  const directory = await openDirectory(dirname(path), { symlinks: 'try-secure', uid, gid }).catch((thrown: unknown) => {
    throw explainFault(thrown, dirname(path))
  })
  await directory.handle.close()
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (!status) return
  if (!status.isSocket() || status.uid !== uid)
    throw new AppError('failed_precondition', `${path} is there and is no socket of ours: remove it, or choose another path`)
  if (await isListening(path)) throw new AppError('failed_precondition', `another process listens on ${path}`)
  await rm(path, { force: true })
}

function isListening(path: string): Promise<boolean> {
  return new Promise((fulfil) => {
    const socket = createConnection(path)
    const end = (answer: boolean): void => {
      socket.destroy()
      fulfil(answer)
    }
    socket.setTimeout(2000, () => end(true))
    socket.on('connect', () => end(true))
    socket.on('error', () => end(false))
  })
}

function addressOf(listen: ListenAddress, port: number): string {
  if ('path' in listen) return listen.path
  return `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}/mcp`
}
