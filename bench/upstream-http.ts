import { createServer } from 'node:http'
import { answerTo } from './echo.ts'
import { listenAndTell } from './tell.ts'

/** The MCP server behind everything: raw node:http, JSON answers. */
const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    if (request.method !== 'POST') return void response.writeHead(405, { 'content-length': '0' }).end()
    const answer = answerTo(Buffer.concat(chunks).toString('utf8'))
    if (answer === '') return void response.writeHead(202, { 'content-length': '0' }).end()
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(answer)) })
    response.end(answer)
  })
})
listenAndTell(server)
