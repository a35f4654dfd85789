import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { bin, type Ended, type Started, temporaryDirectory } from '../programs.ts'
import { eventually } from '../wait.ts'
import { findObstacle, makeNetwork, type Network } from './three-hosts.ts'

// Auth Service and proxy on one host, an agent that only dials out on another, a client on a third. Set SALLYPORT_MEASURE=1 for what happens
// to a light load when things break, and for how long.

const obstacle = await findObstacle()
if (obstacle !== undefined) process.stderr.write(`three hosts: skipped, since ${obstacle}\n`)

const SERVER = '10.231.2.1:3080'
const LOAD_CLIENT = join(import.meta.dirname, '..', 'fakes', 'load-client.ts')

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let network: Network
let server: Started
let agent: Started
let pin = ''
const path = (...names: string[]): string => join(directory.path, ...names)

describe.skipIf(obstacle !== undefined)('three hosts', () => {
  beforeAll(async () => {
    directory = await temporaryDirectory()
    await chmod(directory.path, 0o755)
    await Promise.all(['server', 'agent', 'client', 'bin'].map((name) => mkdir(path(name), { mode: 0o755 })))
    network = await makeNetwork(['docker:x:7231:7231:Docker:/tmp:/bin/sh'])
    // What the document's `docker run -i --rm mcp/everything` starts, without Docker.
    await writeFile(
      path('bin', 'docker'),
      `#!/bin/sh\n[ "$*" = "run -i --rm mcp/everything" ] || exit 64\nexec ${process.execPath} ${findEverything()} stdio\n`,
      { mode: 0o755 },
    )
    await writeFile(
      path('server.yaml'),
      `proxy_service: {web_listen_addr: "0.0.0.0:3080", public_addr: ["${SERVER}", "10.231.1.1:3080"]}\napp_service: {enabled: no}\n`,
    )
    server = await startServer()
    await prepareCluster()
  }, 120_000)

  afterAll(async () => {
    for (const program of [agent, server]) {
      program?.kill('SIGKILL')
      await program?.ended
    }
    await network?.close()
    await directory?.dispose()
  }, 60_000)

  async function startServer(): Promise<Started> {
    const started = network.server.start(bin('sallyport'), ['start', '-c', path('server.yaml'), '--data-dir', path('server')])
    await started.saw('is up')
    return started
  }

  /** With the selectors of the document, typed as they stand there. */
  async function startAgent(selectors: string): Promise<Started> {
    const base = ['--roles=app', '--proxy=10.231.1.1:3080', `--token=${path('token')}`, `--ca-pin=${pin}`, `--data-dir=${path('agent')}`]
    const { stdout } = await ok(network.agent.run(bin('sallyport'), ['configure', ...base]))
    await writeFile(path('agent.yaml'), stdout.slice(0, stdout.indexOf('app_service:')) + selectors)
    const started = network.agent.start(bin('sallyport'), ['start', '-c', path('agent.yaml')], {
      PATH: `${path('bin')}:${process.env['PATH'] ?? ''}`,
    })
    await started.saw('is up')
    return started
  }

  async function stopAgent(): Promise<void> {
    agent.kill('SIGTERM')
    expect((await agent.ended).code).toBe(0)
  }

  async function prepareCluster(): Promise<void> {
    const admin = (...args: string[]) => ok(network.server.run(bin('tctl'), [`--data-dir=${path('server')}`, ...args]))
    pin = /sha256:[0-9a-f]{64}/.exec((await admin('status')).stdout)?.[0] ?? ''
    await writeFile(path('roles.yaml'), ROLES)
    await admin('create', path('roles.yaml'))
    const { stdout } = await admin('users', 'add', 'myuser', '--roles=app-manager,mcp-dev', '--format=json')
    await writeFile(path('password'), 'correct horse battery staple\n')
    const invite: { path?: string; url?: string } = JSON.parse(stdout)
    const link = invite.url ?? `https://${SERVER}${invite.path}`
    await ok(tsh('signup', link, `--password-file=${path('password')}`, `--ca-pin=${pin}`))
    const added: { token: string } = JSON.parse((await admin('tokens', 'add', '--type=app', '--ttl=1h', '--format=json')).stdout)
    await writeFile(path('token'), added.token)
  }

  const home = () => ({ HOME: path('client') })
  const tsh = (...args: string[]): Promise<Ended> => network.client.run(bin('tsh'), args, home())
  const tctl = (...args: string[]): Promise<Ended> => network.client.run(bin('tctl'), args, home())

  async function ok(program: Promise<Ended>): Promise<Ended> {
    const ended = await program
    expect(`${ended.code} ${ended.stderr}`).toBe('0 ')
    return ended
  }

  async function lists(...names: string[]): Promise<void> {
    await eventually(`tsh mcp ls with ${names.join()}`, async () => {
      const { stdout } = await tsh('mcp', 'ls', '--format=json')
      const listed: { metadata: { name: string } }[] = JSON.parse(stdout || '[]')
      return listed.map(({ metadata }) => metadata.name).join() === names.join() || undefined
    })
  }

  async function saveDocument(labels: string): Promise<void> {
    await writeFile(path('client', 'mcp_server.yaml'), DOCUMENT.replace('env: dev', labels))
  }

  it('no one but who may administer apps registers any, and each refusal is on record', async () => {
    await ok(tsh('login', `--proxy=${SERVER}`, '--user=myuser', `--password-file=${path('password')}`, `--ca-pin=${pin}`))
    const { code, stderr } = await tctl('create', path('roles.yaml'))
    expect([code, stderr]).toEqual([5, expect.stringContaining('access denied to perform action "create" on "role"')])
  }, 60_000)

  it('the commands of the document work as they stand there, from a third host', async () => {
    agent = await startAgent('app_service:\n  enabled: true\n  resources:\n  - labels:\n      "*": "*"\n')
    await saveDocument('env: dev')
    const file = path('client', 'mcp_server.yaml')
    expect((await ok(tctl('create', file))).stdout).toBe('app "everything" has been created\n')
    await lists('everything')
    expect((await ok(tsh('mcp', 'call', 'everything', 'echo', '{"message":"three hosts"}'))).stdout).toContain('three hosts')
    expect((await tctl('create', file)).stderr).toContain('already exists')
    await saveDocument('env: dev, team: mcp'.replace(', ', '\n    '))
    expect((await ok(tctl('create', '-f', file))).stdout).toBe('app "everything" has been updated\n')
    await lists('everything')
    expect((await ok(tctl('rm', 'app/everything'))).stdout).toContain('app "everything" has been deleted')
    await lists()
    await stopAgent()
  }, 120_000)

  it('the second example of selectors takes prod and test, and lets go of what changes to dev', async () => {
    agent = await startAgent(
      'app_service:\n  enabled: true\n  resources:\n  - labels:\n      "env": "prod"\n  - labels:\n      "env": "test"\n',
    )
    const file = path('client', 'mcp_server.yaml')
    const save = async (labels: string): Promise<void> => {
      await saveDocument(labels)
      await ok(tctl('create', '-f', file))
    }
    await save('env: prod')
    await lists('everything')
    await save('env: dev')
    await lists()
    await save('env: test')
    await lists('everything')
    await ok(tctl('rm', 'app/everything'))
    await lists()
    // Nothing listens on the agent's host: it was reached over what it dialled.
    const { stdout } = await network.agent.run('cat', ['/proc/net/tcp', '/proc/net/tcp6'])
    expect(stdout.split('\n').filter((line) => /^\s*\d+: \S+ \S+ 0A /.test(line))).toEqual([])
    await stopAgent()
  }, 120_000)

  it.runIf(process.env['SALLYPORT_MEASURE'] === '1')(
    'what a light load sees when things break',
    async () => {
      await measure()
    },
    600_000,
  )

  interface Call {
    text: string
    at: number
    ms: number
    ok: boolean
    why?: string
  }

  async function measure(): Promise<void> {
    const admin = (...args: string[]) => network.server.run(bin('tctl'), [`--data-dir=${path('server')}`, ...args])
    const selectors = 'app_service: {enabled: true, resources: [{labels: {"*": "*"}}]}\n'
    agent = await startAgent(selectors)
    await writeFile(path('echo.yaml'), ECHO)
    await ok(admin('create', path('echo.yaml')))
    const token = /spt_\w+/.exec((await ok(admin('api-tokens', 'add', 'load', '--user=myuser', '--ttl=1h'))).stdout)?.[0] ?? ''
    const ca = (await ok(admin('auth', 'export', '--type=host'))).stdout
    await writeFile(path('client', 'ca.pem'), ca)
    const load = network.client.start(process.execPath, [LOAD_CLIENT, `https://${SERVER}/mcp/apps/echo`, token, '4'], {
      NODE_EXTRA_CA_CERTS: path('client', 'ca.pem'),
    })
    const calls = (): Call[] =>
      load
        .stdout()
        .split('\n')
        .slice(0, -1)
        .map((line): Call => JSON.parse(line))
    await eventually('a steady load', () => calls().filter((call) => call.ok).length > 100 || undefined, 30_000)
    const results: string[] = []
    let last = ''
    const trial = async (name: string, breakIt: () => Promise<void>, mendIt: () => Promise<void>): Promise<void> => {
      const from = Date.now()
      await breakIt()
      await mendIt()
      const mendedAt = Date.now()
      await eventually(`${name}: recovery`, () => calls().filter((call) => call.ok && call.at > mendedAt).length > 40 || undefined, 90_000)
      const since = calls().filter(({ at, ms }) => at + ms >= from)
      const failed = since.filter((call) => !call.ok)
      const first = since.filter((call) => call.ok && call.at + call.ms > mendedAt).toSorted((a, b) => a.at + a.ms - b.at - b.ms)[0]
      const slowest = Math.max(...since.map(({ ms }) => ms))
      const words = [...new Set(failed.map(({ why = '' }) => why.replaceAll(/[\w-]{20,}/g, '…').slice(0, 160)))]
      results.push(
        `${name}: broken for ${mendedAt - from} ms; ${failed.length} calls failed, the first success ${first ? first.at + first.ms - mendedAt : NaN} ms after it was mended, slowest call ${slowest} ms\n    ${words.join('\n    ')}`,
      )
    }
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
    await trial(
      'link cut for 4 s',
      () => network.setAgentLink('down'),
      async () => {
        await pause(4000)
        await network.setAgentLink('up')
      },
    )
    await trial(
      'link cut for 30 s',
      () => network.setAgentLink('down'),
      async () => {
        await pause(30_000)
        await network.setAgentLink('up')
      },
    )
    await trial(
      'agent frozen for 30 s',
      async () => void process.kill(agent.pid, 'SIGSTOP'),
      async () => {
        await pause(30_000)
        process.kill(agent.pid, 'SIGCONT')
      },
    )
    await trial(
      'kill -9 of the agent',
      async () => agent.kill('SIGKILL'),
      async () => {
        await agent.ended
        agent = await startAgent(selectors)
      },
    )
    await trial(
      'kill -9 of proxy and Auth Service',
      async () => server.kill('SIGKILL'),
      async () => {
        await server.ended
        server = await startServer()
      },
    )
    load.kill('SIGTERM')
    await load.ended
    process.stderr.write(`${results.splice(0).join('\n')}\n`)
    const answered = calls().filter((call) => call.ok)
    const fault = await eventually<string>(
      'every answered call in the audit log',
      async () => {
        const { stdout, stderr } = await admin('audit', 'export', '--type=mcp.session.request')
        const seen = new Map<string, number>()
        for (const [, text = ''] of stdout.matchAll(/"arguments":\{"text":"(call-\d+-\d+)"/g)) seen.set(text, (seen.get(text) ?? 0) + 1)
        const wrong = answered.filter(({ text }) => seen.get(text) !== 1)
        last = `${wrong.length} of ${answered.length} are not there once, such as ${JSON.stringify(wrong[0])} (${seen.get(wrong[0]?.text ?? '') ?? 0} times); ${stderr}`
        return wrong.length === 0 ? '' : undefined
      },
      60_000,
    ).catch(() => last)
    expect(fault).toBe('')
    results.push(`${answered.length} calls were answered, and each is in the audit log once`)
    process.stderr.write(`${results.join('\n')}\n`)
  }
})

const ROLES = `kind: role
version: v8
metadata: {name: app-manager}
spec:
  allow:
    rules:
      - resources:
          - app
        verbs: [list, create, read, update, delete]
---
kind: role
version: v8
metadata: {name: mcp-dev}
spec:
  allow:
    app_labels: {"*": "*"}
    mcp: {tools: ["*"]}
`

const ECHO = `kind: app
version: v3
metadata: {name: echo}
spec:
  mcp:
    command: ${process.execPath}
    args: [${ECHO_STDIO}]
    run_as_host_user: docker
`

/** The document's example, comments and all. */
const DOCUMENT = `kind: app
version: v3
metadata:
  name: everything
  description: The Everything MCP server
  labels:
    env: dev
spec:
  mcp:
    # Command to launch stdio-based MCP servers.
    command: "docker"
    # Args to execute with the command.
    args: ["run", "-i", "--rm", "mcp/everything"]
    # Name of the host user account under which the command will be
    # executed. Required for stdio-based MCP servers.
    run_as_host_user: "docker"
`
