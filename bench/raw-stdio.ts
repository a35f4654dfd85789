import { type ChildProcess, spawn } from 'node:child_process'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { listenAndTell } from './tell.ts'

/**
 * A pipe behind node:http and nothing else: ids rewritten by a counter, answers matched by them. One child for all, or with the argument `each`
 * one for every connection, as sessions have them.
 */
const ID = /"id":(\d+)/
const children = new Set<ChildProcess>()

/** Sends a request, and its answer when it comes. */
type Ask = (body: string, id: string, response: ServerResponse) => void

function startPipe(): { child: ChildProcess; ask: Ask } {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'upstream-stdio.ts')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting = new Map<number, { response: ServerResponse; id: string }>()
  let next = 1
  let rest = ''
  children.add(child)
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
  const ask: Ask = (body, id, response) => {
    waiting.set(next, { response, id })
    child.stdin.write(`${body.replace(ID, `"id":${next}`)}\n`)
    next += 1
  }
  return { child, ask }
}

const common = process.argv[2] === 'each' ? undefined : startPipe()
const pipes = new WeakMap<Socket, Ask>()

function askFor(socket: Socket): Ask {
  const known = common?.ask ?? pipes.get(socket)
  if (known) return known
  const { child, ask } = startPipe()
  pipes.set(socket, ask)
  socket.once('close', () => {
    children.delete(child)
    child.kill()
  })
  return ask
}

const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8')
    const id = ID.exec(body)?.[1]
    if (id === undefined) return void response.writeHead(202, { 'content-length': '0' }).end()
    askFor(request.socket)(body, id, response)
  })
})
process.on('exit', () => {
  for (const child of children) child.kill()
})
listenAndTell(server)
