import { join, relative, resolve } from 'node:path'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { interruptSignal } from '../../lib/command-line.ts'
import { AppError, CODES, toAppError } from '../../lib/errors.ts'
import { createLogger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import { loadConfig } from './config.ts'
import { createDemo, findEverything } from './demo.ts'
import { startDemoHttp } from './demo-http.ts'
import { type Running, startRunning } from './running.ts'
import { serveUntil } from './start.ts'

// `npm start`: everything on loopback with two real MCP servers behind it, its data in `.demo` beside the sources between runs.

const ROOT = join(import.meta.dirname, '..', '..', '..')
const FIRST_PORT = 3080
const PORTS_TRIED = 10

async function quickstart(): Promise<void> {
  const { dataDirectory, port } = readOptions()
  const signal = interruptSignal(process)
  const demoHttp = await startDemoHttp(findEverything())
  try {
    const running = await startOnFreePort(dataDirectory, port)
    const passwordFile = join(dataDirectory, 'demo-password')
    await serveUntil(signal, running, async () => {
      await createDemo(running.auth, { httpUrl: demoHttp.url, passwordFile })
      await running.agent?.announced()
      process.stdout.write(renderWelcome(running, dataDirectory, passwordFile))
    })
  } finally {
    await demoHttp.close()
  }
}

/** @throws AppError invalid_argument */
function readOptions(): { dataDirectory: string; port: number } {
  const { dir = join(ROOT, '.demo'), port = String(FIRST_PORT) } = parseOptions()
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    throw new AppError('invalid_argument', `--port is a number from 1 to 65535, not "${port}"`)
  }
  return { dataDirectory: resolve(dir), port: Number(port) }
}

function parseOptions(): { dir: string | undefined; port: string | undefined } {
  try {
    const { values } = parseArgs({ options: { 'data-dir': { type: 'string' }, port: { type: 'string' } } })
    return { dir: values['data-dir'], port: values.port }
  } catch (cause) {
    throw new AppError(
      'invalid_argument',
      `npm start takes --data-dir=DIRECTORY and --port=NUMBER, not "${process.argv.slice(2).join(' ')}"`,
      { cause },
    )
  }
}

async function startOnFreePort(dataDirectory: string, firstPort: number): Promise<Running> {
  const config = await loadConfig({ file: undefined, dataDirectory, env: process.env })
  const redactor = createRedactor()
  const log = createLogger({ level: 'warn', redact: (text) => redactor.text(text) })
  for (let port = firstPort; ; port++) {
    const proxy = { ...config.proxy, web_listen_addr: `127.0.0.1:${port}` }
    try {
      return await startRunning({
        config: { ...config, auth: { ...config.auth, cluster_name: 'demo' }, proxy },
        env: process.env,
        log,
        now: Date.now,
        version: readVersion(),
      })
    } catch (error) {
      if (!isAddressTaken(error) || port + 1 >= firstPort + PORTS_TRIED) throw error
      process.stdout.write(`Port ${port} is taken, trying ${port + 1}.\n`)
    }
  }
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'dev'
}

function isAddressTaken(error: unknown): boolean {
  return error instanceof AppError && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'EADDRINUSE'
}

function renderWelcome(running: Running, dataDirectory: string, passwordFile: string): string {
  const proxy = running.publicAddress
  const tsh = word(join(ROOT, 'bin', 'tsh'))
  const tctl = `${word(join(ROOT, 'bin', 'tctl'))} --data-dir=${word(dataDirectory)}`
  const more = [
    [`${tsh} mcp call everything get-env`, 'the role denies it'],
    [`${tsh} mcp config --all`, 'what to put into your MCP client'],
    [`${tctl} audit ls`, 'who called what, and what was decided'],
    [`${tctl} lock --user=demo --message=lunch --ttl=10m`, 'cuts demo off at once, for ten minutes'],
  ] as const
  const width = Math.max(...more.map(([command]) => command.length))
  return `
Sallyport is up on ${proxy}: two MCP servers behind it, a user "demo", and a role that keeps one tool back.
Its data stay in ${shorten(dataDirectory)}; stop it with Ctrl-C.

In another terminal, in this folder:

  ${tsh} login --proxy=${proxy} --user=demo --auth=local --password-file=${word(passwordFile)}
  ${tsh} mcp ls
  ${tsh} mcp call everything echo '{"message":"hello"}'

Then, for instance:

${more.map(([command, effect]) => `  ${command.padEnd(width)}  # ${effect}\n`).join('')}`
}

/** A path as one word of a command line. */
function word(path: string): string {
  const short = shorten(path)
  return /^[\w./@%+,:-]+$/.test(short) ? short : `'${short.replaceAll("'", "'\\''")}'`
}

/** From the working directory, unless that is not shorter. */
function shorten(path: string): string {
  const short = relative(process.cwd(), path)
  return short.startsWith('..') || short === '' ? path : short
}

quickstart().catch((thrown: unknown) => {
  const error = toAppError(thrown)
  process.stderr.write(`ERROR: ${error.message}\n`)
  if (error.code === 'internal') process.stderr.write(`${String(error.cause instanceof Error ? error.cause.stack : error.cause)}\n`)
  process.exitCode = CODES[error.code].exit
})
