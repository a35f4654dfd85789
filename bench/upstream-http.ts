import { createServer } from 'node:http'
import { answerTo } from './echo.ts'
import { listenAndTell } from './tell.ts'

/** The MCP server behind everything: raw node:http, JSON answers; at `/events` each as a stream of one event, as the official SDK has it. */
const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    if (request.method !== 'POST') return void response.writeHead(405, { 'content-length': '0' }).end()
    const answer = answerTo(Buffer.concat(chunks).toString('utf8'))
    if (answer === '') return void response.writeHead(202, { 'content-length': '0' }).end()
    if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
      return void response.end(`event: message\ndata: ${answer}\n\n`)
    }
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(answer)) })
    response.end(answer)
  })
})
listenAndTell(server)
