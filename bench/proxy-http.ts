import { Agent, createServer, request as send } from 'node:http'
import { listenAndTell } from './tell.ts'

/** The bare reverse proxy most people would write: node:http on both sides, bodies collected, nothing else done. */
const [port] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 2048 })
const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const { method = 'GET', url: path = '/', headers } = request
    const forwarded = send({ host: '127.0.0.1', port, method, path, headers, agent }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('end', () => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        response.end(Buffer.concat(parts))
      })
    })
    forwarded.on('error', () => response.destroy())
    forwarded.end(Buffer.concat(chunks))
  })
})
listenAndTell(server)
