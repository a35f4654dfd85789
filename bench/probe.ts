import { connect } from 'node:net'
import { z } from 'zod'

/**
 * Asks for /healthz about a thousand times a second, one request at a time, and tells the longest and the median time an answer took: what is
 * over the median is a loop that stood still.
 */
const orderSchema = z.object({ port: z.number(), ms: z.number() })

process.on('disconnect', () => process.exit(0))
process.once('message', (message) => {
  const { port, ms } = orderSchema.parse(message)
  const times: number[] = []
  const end = performance.now() + ms
  let sentAt = 0
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const ask = (): void => {
    sentAt = performance.now()
    socket.write(`GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`)
  }
  socket.on('connect', ask)
  socket.on('data', () => {
    times.push(performance.now() - sentAt)
    if (performance.now() < end) return void setTimeout(ask, 1)
    times.sort((a, b) => a - b)
    process.send?.({ longestMs: times.at(-1), medianMs: times[times.length >> 1], asked: times.length })
    process.exit(0)
  })
})
