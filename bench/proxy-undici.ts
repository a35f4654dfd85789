import { createServer } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import { listenAndTell } from './tell.ts'

/** The fastest bare reverse proxy that Node and its best HTTP client allow: head and body of an answer in one write. */
const pool = new Pool(`http://127.0.0.1:${process.argv[2]}`, { connections: 2048, pipelining: 1 })
const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const { connection: _, host: __, 'content-length': ___, ...headers } = request.headers
    let head: { status: number; headers: Record<string, string | string[] | undefined> } = { status: 502, headers: {} }
    const parts: Buffer[] = []
    const body = Buffer.concat(chunks)
    const method: Dispatcher.HttpMethod = request.method === 'POST' ? 'POST' : request.method === 'DELETE' ? 'DELETE' : 'GET'
    pool.dispatch(
      { path: request.url ?? '/', method, headers, body: method === 'POST' ? body : null },
      {
        onRequestStart() {},
        onResponseStart: (_controller, status, answered) => void (head = { status, headers: answered }),
        onResponseData: (_controller, part) => void parts.push(part),
        onResponseEnd() {
          const { connection: ____, 'keep-alive': _____, ...kept } = head.headers
          response.writeHead(head.status, kept)
          response.end(parts.length === 1 ? parts[0] : Buffer.concat(parts))
        },
        onResponseError: () => void response.destroy(),
      },
    )
  })
})
listenAndTell(server)
