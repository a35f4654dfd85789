import { spawn } from 'node:child_process'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { listenAndTell } from './tell.ts'

/** A pipe behind node:http and nothing else: one child for all, ids rewritten by a counter, answers matched by them. */
const child = spawn(process.execPath, [join(import.meta.dirname, 'upstream-stdio.ts')], { stdio: ['pipe', 'pipe', 'inherit'] })
const waiting = new Map<number, { response: ServerResponse; id: string }>()
const ID = /"id":(\d+)/
let next = 1
let rest = ''

child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n')
  rest = lines.pop() ?? ''
  for (const line of lines) {
    const own = Number(ID.exec(line)?.[1])
    const entry = waiting.get(own)
    if (!entry) continue
    waiting.delete(own)
    const answer = line.replace(ID, `"id":${entry.id}`)
    entry.response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(answer)) }).end(answer)
  }
})

const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8')
    const id = ID.exec(body)?.[1]
    if (id === undefined) return void response.writeHead(202, { 'content-length': '0' }).end()
    waiting.set(next, { response, id })
    child.stdin.write(`${body.replace(ID, `"id":${next}`)}\n`)
    next += 1
  })
})
process.on('exit', () => child.kill())
listenAndTell(server)
