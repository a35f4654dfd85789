import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { z } from 'zod'

/**
 * Asks for /healthz about a thousand times a second, one request at a time, and tells the longest and the median time an answer took: what is
 * over the median is a loop that stood still. `ownMs` leaves out how long the gateway's thread and this one waited for a processor,
 * which on a busy machine is most of it.
 */
const orderSchema = z.object({ port: z.number(), pid: z.number(), ms: z.number() })

process.on('disconnect', () => process.exit(0))
process.once('message', (message) => {
  const { port, pid, ms } = orderSchema.parse(message)
  const times: number[] = []
  const ownTimes: number[] = []
  const end = performance.now() + ms
  const waited = (): number => waitedMs(`/proc/${pid}/task/${pid}/schedstat`) + waitedMs('/proc/self/schedstat')
  let sentAt = 0
  let waitedBefore = 0
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const ask = (): void => {
    waitedBefore = waited()
    sentAt = performance.now()
    socket.write(`GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`)
  }
  socket.on('connect', ask)
  socket.on('data', () => {
    const time = performance.now() - sentAt
    times.push(time)
    ownTimes.push(Math.max(0, time - (waited() - waitedBefore)))
    if (performance.now() < end) return void setTimeout(ask, 1)
    for (const list of [times, ownTimes]) list.sort((a, b) => a - b)
    const at = (list: readonly number[], share: number): number => list[Math.floor((list.length - 1) * share)] ?? 0
    process.send?.({
      longestMs: at(times, 1),
      medianMs: at(times, 0.5),
      ownMs: { longest: at(ownTimes, 1), p999: at(ownTimes, 0.999), median: at(ownTimes, 0.5) },
      asked: times.length,
    })
    process.exit(0)
  })
})

/** How long a thread was ready to run and did not; 0 where that cannot be told. The second figure of schedstat, in nanoseconds. */
function waitedMs(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').split(' ')[1]) / 1e6
  } catch {
    return 0 // no Linux
  }
}
