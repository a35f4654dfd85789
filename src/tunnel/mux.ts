import type { Duplex } from 'node:stream'
import type { Clock } from './clock.ts'
import { TunnelFault } from './fault.ts'
import type { FaultCode } from './fault.ts'
import { FloodGuard } from './flood-guard.ts'
import { FRAME, FrameReader, MAX_STREAM_ID, decodeGoaway, decodeReset, decodeWindow, encodeGoaway, encodeReset } from './frame.ts'
import { decodeHello, encodeHello } from './hello.ts'
import type { TunnelLimits } from './limits.ts'
import { Line } from './line.ts'
import { Pulse } from './pulse.ts'
import { Receiver } from './receiver.ts'
import { Sender } from './sender.ts'
import { StreamTable } from './stream-table.ts'
import type { Stream, StreamOwner, StreamUser } from './stream.ts'

export interface MuxOptions {
  /** Which end opens streams; the other one only takes them. */
  role: 'opener' | 'acceptor'
  clock: Clock
  limits: TunnelLimits
  /** A stream was opened by the other end: who uses it from now on. Throws a TunnelFault to refuse it. */
  onOpen?: (stream: Stream, head: Buffer) => StreamUser
  /** What this end says of itself in its hello. */
  features?: readonly string[]
  /** The other end has said its hello, with these. */
  onHello?: (features: readonly string[]) => void
  /** The other end takes or opens no more streams. */
  onGoaway?: () => void
  /** The first stream's number. */
  firstId?: number
}

const MAX_REPLY_BYTES = 256 * 1024
const NOTHING = Buffer.alloc(0)

/** One connection with many streams on it (SPEC.md). Whatever comes in, nothing is thrown: what breaks the rules ends the tunnel. */
export class Mux implements StreamOwner {
  readonly #options: MuxOptions
  readonly #sender: Sender
  readonly #receiver: Receiver
  readonly #reader: FrameReader
  readonly #pulse: Pulse
  readonly #line: Line
  readonly #floods: FloodGuard
  readonly #streams: StreamTable
  readonly #closed = Promise.withResolvers<TunnelFault | undefined>()
  /** Streams that the other end takes at a time. */
  #peerMaxStreams: number
  #isGreeted = false
  #isLeaving = false
  #isPeerLeaving = false
  isOpen = true

  constructor(socket: Duplex, options: MuxOptions) {
    const { clock, limits, role, firstId = 1, features = [] } = options
    this.#options = options
    this.#peerMaxStreams = limits.maxStreams
    this.#floods = new FloodGuard(clock, limits)
    this.#sender = new Sender(socket)
    this.#receiver = new Receiver({ clock, limits, isOpener: role === 'opener', send: this.#sender })
    this.#streams = new StreamTable({
      owner: this,
      sender: this.#sender,
      receiver: this.#receiver,
      firstId,
      onEmpty: () => this.#closeIfDone(),
    })
    this.#reader = new FrameReader({
      data: (id, part, isEnd) => this.#takeData(id, part, isEnd),
      frame: (kind, id, isEnd, payload) => this.#takeFrame(kind, id, isEnd, payload),
    })
    this.#pulse = new Pulse({
      clock,
      limits,
      ping: (payload) => this.#sender.add(FRAME.ping, 0, payload),
      sweep: (now) => this.#sweep(now),
      fail: (fault) => this.close(fault),
    })
    const { maxStreams, streamWindow, connectionWindow } = limits
    this.#sender.greet(encodeHello({ maxStreams, streamWindow, connectionWindow, features }))
    this.#line = new Line(socket, { clock, onBytes: (chunk) => this.#push(chunk), onLost: (cause) => this.#lose(cause) })
  }

  /** Settles when the tunnel is gone: with undefined when both ends were done with it. Never rejects. */
  get closed(): Promise<TunnelFault | undefined> {
    return this.#closed.promise
  }

  /** Streams that are open. */
  get load(): number {
    return this.#streams.size
  }

  /** Why no stream can be opened here now, or undefined. */
  get obstacle(): TunnelFault | undefined {
    if (!this.isOpen) return new TunnelFault('closing', 'the tunnel is closed')
    if (this.#isLeaving || this.#isPeerLeaving) return new TunnelFault('closing', 'the tunnel is being closed')
    if (this.#streams.size >= this.#peerMaxStreams) return new TunnelFault('refused', 'it has as many as it takes')
    return undefined
  }

  /** Only while there is no `obstacle`. With `isWhole` nothing but the head is sent. */
  open(head: Uint8Array, user: StreamUser, isWhole: boolean): Stream {
    const stream = this.#streams.create(this.#streams.lastId + 1, user)
    stream.outgoing.isEnding = isWhole
    stream.outgoing.isEnded = isWhole
    this.#sender.add(FRAME.open, stream.id, head, isWhole)
    // The last number: another tunnel has to go on.
    if (stream.id === MAX_STREAM_ID) this.leave('there are no numbers for streams left')
    return stream
  }

  /** No new streams from now on; the tunnel closes when those that are open have ended. */
  leave(reason: string): void {
    if (this.#isLeaving || !this.isOpen) return
    this.#isLeaving = true
    this.#sender.add(FRAME.goaway, 0, encodeGoaway(this.#streams.lastId, 'closing', reason))
    if (this.#streams.size === 0) this.#closeIfDone()
  }

  /** Ends it now, and all open streams with `fault`; without one they are `lost`. */
  close(fault?: TunnelFault): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#pulse.close()
    this.#reader.stop()
    if (this.#line.isWritable) this.#sender.farewell(encodeGoaway(this.#streams.lastId, fault?.code ?? 'closing', fault?.message ?? ''))
    this.#sender.close()
    this.#receiver.close()
    this.#streams.failAfter(0, fault ?? new TunnelFault('lost', 'the tunnel was closed'))
    if (fault?.code === 'silent') this.#line.cut()
    else this.#line.hangUp()
    this.#closed.resolve(fault)
  }

  accept(stream: Stream, head: Uint8Array): void {
    this.#sender.add(FRAME.accept, stream.id, head)
  }

  send(stream: Stream, chunk: Uint8Array): void {
    if (this.#sender.send(stream.outgoing, chunk)) this.#streams.settle(stream)
    else this.#giveUp(stream, new TunnelFault('stalled', 'more was written than may wait for a slow reader'))
  }

  end(stream: Stream): void {
    this.#sender.advance(stream.outgoing)
    this.#streams.settle(stream)
  }

  reset(stream: Stream, code: FaultCode, reason: string): void {
    this.#receiver.expectLate(stream.incoming)
    this.#sender.add(FRAME.reset, stream.id, encodeReset(code, reason))
    this.#streams.drop(stream)
  }

  #lose(cause: Error | undefined): void {
    const isExpected = this.#streams.size === 0 && (this.#isLeaving || this.#isPeerLeaving) && !cause
    this.close(isExpected ? undefined : new TunnelFault('lost', cause?.message ?? 'it ended', cause))
  }

  #push(chunk: Buffer): void {
    if (!this.isOpen) return
    try {
      this.#reader.push(chunk)
      if (this.#sender.replyBytes > MAX_REPLY_BYTES) throw new TunnelFault('flooded', 'answers to frames were not taken')
    } catch (thrown) {
      this.close(thrown instanceof TunnelFault ? thrown : new TunnelFault('internal', 'internal error in the tunnel', thrown))
    }
  }

  #takeData(id: number, part: Buffer, isEnd: boolean): void {
    this.#pulse.heard()
    if (!this.#isGreeted) throw notGreeted()
    const stream = this.#streams.find(id)
    if (!stream) return this.#receiver.takeLate(part.length, this.#streams.isIdle(id))
    this.#receiver.take(stream, part, isEnd)
    if (isEnd) this.#streams.settle(stream)
  }

  #takeFrame(kind: number, id: number, isEnd: boolean, payload: Buffer): void {
    this.#pulse.heard()
    if (kind === FRAME.hello) return this.#takeHello(id, payload)
    if (!this.#isGreeted) throw notGreeted()
    if (kind === FRAME.open) this.#takeOpen(id, isEnd, payload)
    else if (kind === FRAME.accept) this.#takeAccept(id, isEnd, payload)
    else if (kind === FRAME.window) this.#takeWindow(id, decodeWindow(payload))
    else if (kind === FRAME.reset) this.#takeReset(id, decodeReset(payload))
    else if (id !== 0) throw new TunnelFault('protocol', `a frame of kind ${kind} is of no stream`)
    else if (kind === FRAME.ping) {
      this.#floods.ping()
      this.#sender.reply(FRAME.pong, 0, payload)
    } else if (kind === FRAME.pong) this.#pulse.pong(payload)
    else this.#takeGoaway(payload)
  }

  #takeHello(id: number, payload: Buffer): void {
    if (this.#isGreeted || id !== 0) throw new TunnelFault('protocol', 'hello is said once and first')
    const { maxStreams, streamWindow, connectionWindow, features } = decodeHello(payload)
    this.#isGreeted = true
    this.#pulse.greeted()
    this.#peerMaxStreams = maxStreams
    this.#sender.start(connectionWindow)
    this.#streams.start(streamWindow)
    this.#options.onHello?.(features)
  }

  #takeOpen(id: number, isEnd: boolean, head: Buffer): void {
    const { limits, onOpen } = this.#options
    if (!onOpen) throw new TunnelFault('protocol', 'streams are opened by the other end only')
    if (id <= this.#streams.lastId) throw new TunnelFault('protocol', 'the number of a stream is not new')
    const isFull = this.#streams.size >= limits.maxStreams
    const stream = this.#streams.create(id)
    stream.incoming.isEnded = isEnd
    try {
      if (this.#isLeaving) throw new TunnelFault('refused', 'it is shutting down')
      if (isFull) throw new TunnelFault('refused', 'it has as many as it takes')
      if (!this.#floods.mayBegin()) throw new TunnelFault('refused', 'too many were cancelled')
      stream.user = onOpen(stream, head)
    } catch (thrown) {
      if (!(thrown instanceof TunnelFault)) throw thrown
      this.#receiver.expectLate(stream.incoming)
      this.#sender.reply(FRAME.reset, id, encodeReset(thrown.code, thrown.message))
      this.#streams.drop(stream)
      return
    }
    if (isEnd && !stream.isOver) stream.user.onData(NOTHING, true)
  }

  #takeAccept(id: number, isEnd: boolean, head: Buffer): void {
    const stream = this.#streams.find(id)
    if (!stream) return this.#receiver.takeLateHead(this.#streams.isIdle(id), isEnd)
    const { incoming } = stream
    if (incoming.isAccepted) throw new TunnelFault('protocol', 'a stream is accepted twice')
    incoming.isAccepted = true
    incoming.isEnded = isEnd
    stream.user?.onAccept(head)
    if (!isEnd || stream.isOver) return
    stream.user?.onData(NOTHING, true)
    this.#streams.settle(stream)
  }

  #takeWindow(id: number, bytes: number): void {
    this.#floods.window(this.#sender.dataFrames)
    if (id === 0) return this.#sender.grant(bytes)
    const stream = this.#streams.find(id)
    if (!stream) return this.#streams.mustNotBeIdle(id)
    this.#sender.widen(stream.outgoing, bytes)
    this.#streams.settle(stream)
  }

  #takeReset(id: number, fault: TunnelFault): void {
    const stream = this.#streams.find(id)
    if (stream) {
      if (this.#options.role === 'acceptor') this.#floods.cancelled()
      this.#streams.drop(stream)
      stream.user?.onReset(fault)
    } else {
      this.#streams.mustNotBeIdle(id)
      this.#floods.lateReset(this.#streams.opened)
    }
  }

  #takeGoaway(payload: Buffer): void {
    this.#floods.goaway()
    const { lastId, fault } = decodeGoaway(payload)
    this.#isPeerLeaving = true
    this.#options.onGoaway?.()
    if (fault.code !== 'closing') return this.close(new TunnelFault(fault.code, `the other end closed the tunnel: ${fault.message}`))
    // What comes after that one was not looked at and will not be.
    if (this.#options.role === 'opener') this.#streams.failAfter(lastId, new TunnelFault('refused', 'it is shutting down'))
    if (this.#streams.size === 0) this.#closeIfDone()
  }

  #sweep(now: number): void {
    for (const { id } of this.#sender.findStuck(now, now - this.#options.limits.stalledMs)) {
      const stream = this.#streams.find(id)
      if (stream) this.#giveUp(stream, new TunnelFault('stalled', 'the other end took nothing for too long'))
    }
    for (const stream of this.#receiver.findStalled(now))
      this.#giveUp(stream, new TunnelFault('stalled', 'its reader was too slow, and others needed the room'))
  }

  /** Also of a stream that has ended and of which something is held here. */
  #giveUp(stream: Stream, fault: TunnelFault): void {
    if (stream.isOver) this.#streams.drop(stream)
    else this.reset(stream, fault.code, fault.message)
    stream.user?.onReset(fault)
  }

  /** The end that opens streams is the one that hangs up, since it knows that none is on its way. */
  #closeIfDone(): void {
    if (this.#options.role === 'opener' && (this.#isLeaving || this.#isPeerLeaving)) this.close()
  }
}

function notGreeted(): TunnelFault {
  return new TunnelFault('protocol', 'the first frame has to be hello')
}
