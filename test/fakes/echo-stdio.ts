/**
 * A tiny MCP server on stdin and stdout, without an SDK, for both eras. Run it as `node test/fakes/echo-stdio.ts [flags]`:
 *
 *   --garbage        lines that are no JSON-RPC before each answer
 *   --grandchild     starts a shell that ignores SIGINT and SIGTERM, with the same flags as arguments
 *   --daemon         starts a shell of its own session, with the same flags, that starts another
 *   --stubborn       ignores SIGINT and the end of stdin
 *   --exit-at-start  writes `no licence` to stderr and exits with code 3
 *   --slow           answers `initialize` after three seconds, and writes `ready` to stderr when it does
 *   --fussy          refuses to be initialized by a client called `unwanted`
 *   --mark=TEXT      does nothing but show in the list of processes
 *
 * Tools: see TOOLS below. `received` answers with every line that came in, as text.
 */
import { execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

interface Message {
  id?: string | number
  method?: string
  params?: {
    name?: string
    arguments?: Record<string, unknown>
    _meta?: { progressToken?: string | number }
    clientInfo?: { name?: string }
  }
  result?: unknown
}

interface Call {
  /** Raw text of the request's id. */
  id: string
  arguments: Record<string, unknown>
  progressToken: string | number | undefined
}

const flags = new Set(process.argv.slice(2))
const received: string[] = []
let pending = ''
const subscriptions = new Set<string>()
/** Requests of ours the client has not answered: their id and whose answer waits for it. */
const asked = new Map<string, (answer: string) => void>()

const TOOLS: Record<string, (call: Call) => void> = {
  /** Answers with `text`. */
  echo: (call) => answer(call, String(call.arguments['text'] ?? '')),
  /** Answers after `ms`. */
  slow: (call) => void setTimeout(() => answer(call, 'late'), Number(call.arguments['ms'] ?? 1000)),
  /** Never answers. */
  hang: () => undefined,
  /** Sends progress 1 and 2, then answers. */
  progress(call) {
    for (const progress of [1, 2]) notify('notifications/progress', { progressToken: call.progressToken, progress })
    answer(call, 'done')
  },
  /** Sends progress 1, then does as `ask`. */
  work(call) {
    notify('notifications/progress', { progressToken: call.progressToken, progress: 1 })
    TOOLS['ask']?.(call)
  },
  /** Asks the client with `sampling/createMessage` and answers with what it said. */
  ask(call) {
    asked.set('ask-1', (said) => answer(call, said))
    writeLine('{"jsonrpc":"2.0","id":"ask-1","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}')
  },
  /** Answers, then sends `count` log messages that belong to no request. */
  log(call) {
    answer(call, 'ok')
    for (let n = 1; n <= Number(call.arguments['count'] ?? 1); n++) notify('notifications/message', { level: 'info', data: `log ${n}` })
  },
  /** Tells all subscriptions that the tools changed, then answers. */
  changed(call) {
    for (const id of subscriptions)
      writeLine(
        `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}`,
      )
    answer(call, 'ok')
  },
  /** Ends all subscriptions by a cancellation, then answers. */
  unsubscribe(call) {
    for (const id of subscriptions) writeLine(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`)
    subscriptions.clear()
    answer(call, 'ok')
  },
  /** Answers with `bytes` times the letter x. */
  big: (call) => answer(call, 'x'.repeat(Number(call.arguments['bytes'] ?? 0))),
  /** Answers the same id twice in one object. */
  ambiguous: (call) => writeLine(`{"jsonrpc":"2.0","id":${call.id},"result":{"a":1,"a":2}}`),
  /** Answers with its environment, working directory and accounts. */
  whoami(call) {
    answer(
      call,
      JSON.stringify({
        env: process.env,
        cwd: process.cwd(),
        uid: process.getuid?.(),
        gid: process.getgid?.(),
        groups: process.getgroups?.(),
      }),
    )
  },
  /** Answers with what a shell `command` printed. */
  sh: (call) => void execFile('sh', ['-c', `( ${String(call.arguments['command'])} ) 2>&1`], (_, stdout) => answer(call, stdout.trim())),
  pid: (call) => answer(call, String(process.pid)),
  received: (call) => answer(call, JSON.stringify(received)),
  /** Writes `text` to stderr, then answers. */
  stderr: (call) => void process.stderr.write(`${String(call.arguments['text'])}\n`, () => answer(call, 'ok')),
  /** Exits with `code`, after a word on stderr. */
  exit: (call) => void process.stderr.write('giving up\n', () => process.exit(Number(call.arguments['code'] ?? 1))),
  /** Closes stdout but lives on. */
  mute: () => process.stdout.end(),
}

if (flags.has('--exit-at-start')) process.stderr.write('no licence\n', () => process.exit(3))
if (flags.has('--stubborn')) {
  process.on('SIGINT', () => undefined)
  setInterval(() => undefined, 1000)
}
if (flags.has('--grandchild')) spawn('sh', ['-c', "trap '' INT TERM; while :; do sleep 1; done", ...flags], { stdio: 'ignore' })

if (flags.has('--daemon')) {
  const script = 'trap \'\' INT TERM HUP; setsid sh -c \'while :; do sleep 1; done\' "$0" "$@" & while :; do sleep 1; done'
  spawn('sh', ['-c', script, ...flags], { stdio: 'ignore', detached: true }).unref()
}

createInterface({ input: process.stdin }).on('line', (line) => {
  received.push(line)
  // A server of our tests: what it gets is a message.
  const message = JSON.parse(line) as Message
  if (message.method === undefined) asked.get(String(message.id))?.(JSON.stringify(message.result))
  else if (message.id !== undefined) serve(message, rawIdOf(line))
})

function serve({ method, params }: Message, id: string): void {
  if (method === 'initialize') {
    // The instructions tell what came so far.
    const server = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'echo-stdio', version: '1' } }
    const text = JSON.stringify({ ...server, instructions: received.join('\n') })
    const { name = '' } = params?.clientInfo ?? {}
    if (flags.has('--fussy') && name === 'unwanted') return writeLine(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32602,"message":"no"}}`)
    if (!flags.has('--slow')) return respond(id, text)
    setTimeout(() => process.stderr.write('ready\n', () => respond(id, text)), 3000)
    return
  }
  if (method === 'tools/list')
    return respond(id, JSON.stringify({ tools: Object.keys(TOOLS).map((name) => ({ name, inputSchema: { type: 'object' } })) }))
  if (method === 'subscriptions/listen') {
    subscriptions.add(id)
    return writeLine(
      `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}`,
    )
  }
  const tool = TOOLS[params?.name ?? '']
  if (method === 'tools/call' && tool) return tool({ id, arguments: params?.arguments ?? {}, progressToken: params?._meta?.progressToken })
  writeLine(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32601,"message":"unknown"}}`)
}

function answer({ id }: Call, text: string): void {
  respond(id, JSON.stringify({ content: [{ type: 'text', text }] }))
}

function respond(id: string, result: string): void {
  if (flags.has('--garbage')) writeLine('Server ready!\n[1,2]\n{"jsonrpc":"1.0"}\n{"id":\n')
  writeLine(`{"jsonrpc":"2.0","id":${id},"result":${result}}`)
}

function notify(method: string, params: Record<string, unknown>): void {
  writeLine(JSON.stringify({ jsonrpc: '2.0', method, params }))
}

/** All lines of one turn leave in one write, so that they arrive together. */
function writeLine(line: string): void {
  if (pending === '')
    queueMicrotask(() => {
      process.stdout.write(pending)
      pending = ''
    })
  pending += `${line}\n`
}

/** The id as it was written, so that large numbers survive. Clients of our tests put it before any other `"id"`. */
function rawIdOf(line: string): string {
  return /"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9.eE+]+)/.exec(line)?.[1] ?? 'null'
}
