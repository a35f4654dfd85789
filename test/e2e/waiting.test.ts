import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { once } from 'node:events'
import { access } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { bin, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { tshConnect } from '../tsh-connect.ts'
import { eventually, within } from '../wait.ts'

// Commands that have nothing to do but wait: they wait until they are stopped, and one Ctrl-C stops them.

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let deaf: Server
let port: number
let connections: number
let started: Started | undefined

beforeEach(async () => {
  directory = await temporaryDirectory()
  connections = 0
  deaf = createServer((socket) => {
    connections += 1
    socket.destroy()
  })
  deaf.listen(0, '127.0.0.1')
  await once(deaf, 'listening')
  port = portOf(deaf.address())
})

afterEach(async () => {
  started?.kill('SIGKILL')
  await started?.ended
  deaf.close()
  await directory.dispose()
})

function portOf(address: AddressInfo | string | null): number {
  if (typeof address !== 'object' || address === null) throw new Error('not listening')
  return address.port
}

it('an agent whose proxy cannot be reached tries again, and ends with 0 when it is told to', { timeout: 60_000 }, async () => {
  const args = ['start', '--roles=app', `--auth-server=127.0.0.1:${port}`, '--token=abc', `--data-dir=${directory.path}`]
  started = startProgram(bin('sallyport'), args, { env: { HOME: directory.path } })
  await eventually('a second attempt', () => connections > 1 || undefined, 30_000)
  started.kill('SIGTERM')
  expect(await within('its end', started.ended)).toMatchObject({ code: 0 })
})

it('Ctrl-C ends a call whose server does not answer', { timeout: 60_000 }, async () => {
  const cluster = await startCluster()
  try {
    const trace = join(directory.path, 'started')
    const program = `require('node:fs').writeFileSync(${JSON.stringify(trace)}, ''); process.stdin.resume()`
    await cluster.saveStdioApp('mute', process.execPath, ['-e', program])
    await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['all'])
    const identity = await cluster.identityFileOf('alice')
    const proxy = cluster.url.slice('http://'.length)
    started = startProgram(bin('tsh'), ['mcp', 'call', '-i', identity, `--proxy=${proxy}`, 'mute', 'echo'])
    await eventually('the server', () =>
      access(trace).then(
        () => true,
        () => undefined,
      ),
    )
    started.kill('SIGINT')
    expect(await within('its end', started.ended, 4000)).toMatchObject({ code: 130, stdout: '', stderr: '' })
  } finally {
    await cluster.close()
  }
})

it('a signal ends the session that tsh mcp connect serves at once, though a call has no answer', { timeout: 60_000 }, async () => {
  const cluster = await startCluster()
  try {
    await cluster.saveStdioApp('echo', process.execPath, [ECHO_STDIO])
    await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['all'])
    const transport = new StdioClientTransport(tshConnect(cluster, await cluster.identityFileOf('alice'), 'echo'))
    const client = new Client({ name: 'c', version: '1' }, { capabilities: {} })
    await client.connect(transport)
    const call = client.callTool({ name: 'hang', arguments: {} })
    await client.listTools()
    process.kill(transport.pid ?? 0, 'SIGINT')
    await expect(call).rejects.toThrow(/closed/i)
    expect(await cluster.eventsOnceThere({ type: 'mcp.session.end' }, 1)).toMatchObject([{ app_name: 'echo' }])
  } finally {
    await cluster.close()
  }
})
