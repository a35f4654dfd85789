import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { ROOT, type Started, startProgram } from '../programs.ts'
import { eventually } from '../wait.ts'
import { startBearerForwarder } from './bearer-forwarder.ts'
import { type Difference, worseThan } from './compare.ts'
import { hasSuite, runSuite } from './suite.ts'

// Servers that others wrote, in the revisions they were written for: what the official suite finds of them it finds through the gateway too,
// faults included. They are no servers for the suite, so most of what it looks for is not there; the gateway must not add to that.

const PACKAGES = join(ROOT, 'node_modules/@modelcontextprotocol')
const EXAMPLES = join(PACKAGES, 'sdk/dist/esm/examples/server')
const SERVERS = [
  { name: 'everything', args: [join(PACKAGES, 'server-everything/dist/index.js'), 'streamableHttp'] },
  { name: 'sessions', args: [join(EXAMPLES, 'simpleStreamableHttp.js')] },
  { name: 'json', args: [join(EXAMPLES, 'jsonResponseStreamableHttp.js')] },
  { name: 'stateless', args: [join(EXAMPLES, 'simpleStatelessStreamableHttp.js')] },
]
const REVISIONS = ['2025-03-26', '2025-06-18', '2025-11-25']

/** What the suite notes of a server without sessions; the gateway has some in front of it, so that all is checked. */
const NO_SESSIONS = 'the suite cannot check what it checks through the gateway'
const NOTES: Difference[] = [
  { scenario: 'server-session-lifecycle', checks: ['server-session-lifecycle-skipped'] },
  { scenario: 'server-sse-multiple-streams', checks: ['server-sse-multiple-streams-session'] },
  { scenario: 'server-sse-polling', checks: ['server-sse-polling-session'] },
].map((row) => ({ ...row, server: 'http', revision: '*', why: NO_SESSIONS }))

/** Binds what listens to a free port of the loopback interface only, and says which. */
const ON_LOOPBACK = `data:text/javascript,${encodeURIComponent(`
  import net from 'node:net'
  const { listen } = net.Server.prototype
  net.Server.prototype.listen = function (port, ...rest) {
    this.once('listening', () => console.error('bound ' + this.address().port))
    return listen.call(this, 0, '127.0.0.1', ...rest)
  }`)}`

let cluster: Cluster
let token: string

if (!hasSuite) process.stderr.write('skipped: @modelcontextprotocol/conformance is not installed\n')

describe.skipIf(!hasSuite)('servers that others wrote', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    cluster = await startCluster()
    await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['all'])
    token = await cluster.tokenOf('alice')
  }, 60_000)

  afterAll(() => cluster?.close())

  describe.each(SERVERS)('$name', ({ name, args }) => {
    let program: Started
    let url: string
    beforeAll(async () => {
      program = startProgram(process.execPath, ['--import', ON_LOOPBACK, ...args])
      const port = await eventually('its port', () => /^bound (\d+)$/m.exec(program.stderr())?.[1])
      url = `http://127.0.0.1:${port}/mcp`
      await cluster.saveHttpApp(name, url)
    })
    afterAll(async () => {
      program?.kill('SIGKILL')
      await program?.ended
    })

    it.each(REVISIONS)('%s', async (revision) => {
      const direct = await runSuite(url, revision)
      const gateway = await startBearerForwarder(cluster.mcpUrl(name), token)
      try {
        expect(worseThan(direct, await runSuite(gateway.url, revision), name === 'stateless' ? NOTES : [])).toEqual([])
      } finally {
        await gateway.close()
      }
    })
  })
})
