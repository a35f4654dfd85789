import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { silentLogger } from '../lib/log.ts'
import { serveTunnel } from './agent-tunnel.ts'
import type { AgentTunnel, AgentTunnelOptions } from './agent-tunnel.ts'
import type { Clock } from './clock.ts'
import type { Exchange, ExchangeTarget } from './exchange.ts'
import { openTunnel } from './proxy-tunnel.ts'
import type { ProxyTunnel, ProxyTunnelOptions } from './proxy-tunnel.ts'

/** A clock in the hands of the test. */
export interface FakeClock extends Clock {
  /** Lets so much time pass; what is due runs in its order, each after what the one before it led to. */
  advance(ms: number): Promise<void>
  /** The process stands still for so long: then what is due runs, late. */
  stall(ms: number): Promise<void>
}

export function fakeClock(): FakeClock {
  let now = 0
  const due = new Set<{ at: number; run: () => void }>()
  return {
    now: () => now,
    after: (ms, run) => {
      const entry = { at: now + ms, run }
      due.add(entry)
      return () => due.delete(entry)
    },
    stall: async (ms) => {
      now += ms
      for (const entry of [...due].filter(({ at }) => at <= now)) {
        due.delete(entry)
        entry.run()
      }
      await settle()
    },
    advance: async (ms) => {
      const end = now + ms
      for (;;) {
        const [next] = [...due].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)
        if (!next) break
        due.delete(next)
        now = Math.max(now, next.at)
        next.run()
        await settle()
      }
      now = end
      await settle()
    },
  }
}

/** Lets what is under way in this process go on until it waits for something else. */
export async function settle(turns = 20): Promise<void> {
  for (let index = 0; index < turns; index++) await turn()
}

/** One end of a connection in memory. It takes `highWaterMark` bytes that the other end does not read. */
export class MemoryDuplex extends Duplex {
  peer: MemoryDuplex | undefined
  /** While set, nothing written here arrives. */
  isFrozen = false
  #pending: (() => void) | undefined
  /** What arrives, in pieces of these sizes in turn. */
  pieces: number[] = []
  #place = 0
  written = 0

  override _read(): void {
    this.peer?.thaw()
  }

  thaw(): void {
    if (this.isFrozen) return
    const pending = this.#pending
    this.#pending = undefined
    pending?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written += chunk.length
    const deliver = (): void => {
      const peer = this.peer
      if (!peer || peer.destroyed) return done()
      if (this.#push(peer, chunk)) done()
      else this.#pending = done
    }
    if (this.isFrozen) this.#pending = deliver
    else deliver()
  }

  override _final(done: () => void): void {
    if (this.peer && !this.peer.destroyed) this.peer.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { peer } = this
    setImmediate(() => peer?.destroy())
    done(error)
  }

  /** False when the other end reads no more for now. */
  #push(peer: MemoryDuplex, chunk: Buffer): boolean {
    let isRoomy = true
    for (let at = 0; at < chunk.length;) {
      const size = this.pieces.length > 0 ? (this.pieces[this.#place++ % this.pieces.length] ?? 1) : chunk.length
      isRoomy = peer.push(Buffer.from(chunk.subarray(at, at + size)))
      at += size
    }
    return isRoomy
  }
}

export function connectedPair(): [MemoryDuplex, MemoryDuplex] {
  const [left, right] = [new MemoryDuplex(), new MemoryDuplex()]
  left.peer = right
  right.peer = left
  return [left, right]
}

/** A client's request, and what became of it. */
export interface Asked {
  exchange: Exchange
  status: number
  headers: Record<string, string>
  body: Buffer
  /** Why the answer broke off. */
  reason: string | undefined
  outcome: 'open' | 'ended' | 'aborted'
  /** Settles when the answer is over, either way. */
  over: Promise<void>
  leave(): void
  /** While set the client takes nothing; `take` lets it go on. */
  stall(): void
  take(): void
}

export function ask(target: ExchangeTarget, request: Partial<Exchange> & { text?: string } = {}): Asked {
  const gone = new AbortController()
  const over = Promise.withResolvers<void>()
  let gate: PromiseWithResolvers<void> | undefined
  const chunks: Buffer[] = []
  const { text, ...more } = request
  const asked: Asked = {
    exchange: {
      method: 'POST',
      path: '/mcp/apps/echo',
      headers: { accept: 'application/json' },
      body: Buffer.from(text ?? ''),
      remoteAddress: '192.0.2.7',
      server: 'echo',
      assertion: 'head.claims.signature',
      signal: gone.signal,
      answer: {
        head: (status, headers) => {
          asked.status = status
          asked.headers = { ...headers }
        },
        write: (chunk) => {
          chunks.push(Buffer.from(chunk))
          return gate === undefined
        },
        drained: () => gate?.promise ?? Promise.resolve(),
        end: (chunk) => {
          if (chunk) chunks.push(Buffer.from(chunk))
          asked.outcome = 'ended'
          over.resolve()
        },
        abort: (reason) => {
          asked.reason = reason
          asked.outcome = 'aborted'
          over.resolve()
        },
      },
      ...more,
    },
    status: 0,
    headers: {},
    get body() {
      return Buffer.concat(chunks)
    },
    reason: undefined,
    outcome: 'open',
    over: over.promise,
    leave: () => gone.abort(),
    stall: () => (gate = Promise.withResolvers()),
    take: () => {
      gate?.resolve()
      gate = undefined
    },
  }
  target(asked.exchange)
  return asked
}

export interface TunnelPair {
  proxy: ProxyTunnel
  agent: AgentTunnel
  sockets: [MemoryDuplex, MemoryDuplex]
  clock: FakeClock
}

/** Both ends of a tunnel in memory, with a clock of their own. With `isFrozen` nothing comes from the agent. */
export function tunnelPair(
  serve: ExchangeTarget,
  { proxy, agent, isFrozen = false }: { proxy?: Partial<ProxyTunnelOptions>; agent?: Partial<AgentTunnelOptions>; isFrozen?: boolean } = {},
): TunnelPair {
  const clock = fakeClock()
  const sockets = connectedPair()
  sockets[1].isFrozen = isFrozen
  return {
    proxy: openTunnel(sockets[0], { peer: 'the agent "a"', clock, ...proxy }),
    agent: serveTunnel(sockets[1], serve, { clock, log: silentLogger, ...agent }),
    sockets,
    clock,
  }
}

/** Answers everything with 200 and the request's own body. */
export const echo: ExchangeTarget = ({ answer, body }) => {
  answer.head(200, { 'content-type': 'application/json', 'content-length': String(body.length) })
  answer.end(body)
}
