import { Agent, request } from 'node:http'
import { z } from 'zod'

/** A process with idle clients: each has an MCP session and its GET stream open, and does nothing. */
export const idleOrderSchema = z.object({ port: z.number(), path: z.string(), tokens: z.array(z.string()), perToken: z.number() })

const posts = new Agent({ keepAlive: true, maxSockets: 8 })
const streams = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY })
const OPENING = JSON.stringify({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'idle', version: '1.0.0' } },
})

process.on('disconnect', () => process.exit(0))
process.once('message', (message) => {
  open(idleOrderSchema.parse(message)).then(
    (opened) => process.send?.({ opened }),
    (thrown: unknown) => {
      process.stderr.write(`idle: ${String(thrown)}\n`)
      process.exit(1)
    },
  )
})

async function open({ port, path, tokens, perToken }: z.infer<typeof idleOrderSchema>): Promise<number> {
  let opened = 0
  for (const token of tokens) {
    for (let n = 0; n < perToken; n += 8) {
      const batch = Array.from({ length: Math.min(8, perToken - n) }, () => openOne(port, path, token))
      opened += (await Promise.all(batch)).length
    }
  }
  return opened
}

async function openOne(port: number, path: string, token: string): Promise<void> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const id = await new Promise<string>((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, method: 'POST', headers, agent: posts }, (answer) => {
      answer.resume()
      const session = answer.headers['mcp-session-id']
      if (typeof session === 'string') answer.on('end', () => resolve(session))
      else reject(new Error(`initialize was answered with HTTP ${answer.statusCode}`))
    })
    sent.on('error', reject)
    sent.end(OPENING)
  })
  await new Promise<void>((resolve, reject) => {
    const stream = { ...headers, 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' }
    const sent = request({ port, host: '127.0.0.1', path, method: 'GET', headers: stream, agent: streams }, (answer) => {
      answer.resume()
      if (answer.statusCode === 200) resolve()
      else reject(new Error(`GET was answered with HTTP ${answer.statusCode}`))
    })
    sent.on('error', reject)
    sent.end()
  })
}
