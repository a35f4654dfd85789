import type { WireRequest } from './exchange.ts'
import { createPool } from './pool.ts'
import type { Pool, PoolOptions } from './pool.ts'
import { listen, startRawServer } from './raw-server.fixture.ts'
import type { RawPeer, RawServer, Told } from './raw-server.fixture.ts'
import { beginHead } from './request-head.ts'

/** Closed after each test. */
export const opened: { close(): unknown }[] = []

export async function closeOpened(): Promise<void> {
  for (const one of opened.splice(0).reverse()) await one.close()
}

export interface Setting {
  server: RawServer
  pool: Pool
  clock: { now: number }
}

export async function setUp(options: Partial<PoolOptions> = {}, host?: string): Promise<Setting> {
  const server = await startRawServer(host)
  const clock = { now: 0 }
  const { origin } = server
  const limits = { maxConnections: 8, connectTimeoutMs: 1000, headersTimeoutMs: 5000, rejectUnauthorized: true }
  const pool = createPool({ origin, ...limits, now: () => clock.now, ...options })
  opened.push(server, pool)
  return { server, pool, clock }
}

/** `POST /name` with its name as the body. */
export function post(name: string, body = name): WireRequest {
  return { method: 'POST', head: beginHead('POST', `/${name}`, 'h', {}), body: Buffer.from(body) }
}

export function answer(body: string, fields = ''): string {
  return `HTTP/1.1 200 OK\r\n${fields}content-length: ${body.length}\r\n\r\n${body}`
}

/** Asks, answers, and leaves the connection idle, if it can be. */
export async function exchange({ server, pool }: Setting, name: string, text = answer(name)): Promise<{ told: Told; peer: RawPeer }> {
  const told = listen()
  pool.send(post(name), told.receiver)
  const peer = await server.accept()
  await peer.receive(`\r\n\r\n${name}`)
  peer.write(text)
  await told.over
  return { told, peer }
}

/** Asks again where a connection may be idle; tells whether it was used. */
export async function isReused(setting: Setting, peer: RawPeer): Promise<boolean> {
  const before = setting.server.accepted
  const told = listen()
  setting.pool.send(post('again'), told.receiver)
  const other = await Promise.race([peer.receive('\r\n\r\nagain').then(() => peer), setting.server.accept()])
  await (other === peer ? undefined : other.receive('\r\n\r\nagain'))
  other.write(answer('again'))
  await told.over
  if (told.body !== 'again') throw new Error(`got ${told.words.join()} and ${told.body}`)
  return setting.server.accepted === before
}
