import { Agent, createServer, request as send } from 'node:http'
import { listenAndTell } from './tell.ts'

/** The bare reverse proxy of the manual: node:http on both sides, joined by pipes. */
const [port] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 2048 })
const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const { method = 'GET', url: path = '/', headers } = request
  const forwarded = send({ host: '127.0.0.1', port, method, path, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  })
  forwarded.on('error', () => response.destroy())
  request.pipe(forwarded)
})
listenAndTell(server)
