import { userInfo } from 'node:os'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteResource, listResources } from '../../src/api/resources.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { hasProc, listProcesses } from '../fakes/processes.ts'
import { type RemoteAgent, sees, startRemoteAgent } from '../remote-agent.ts'
import { eventually } from '../wait.ts'

// 200 registrations, updates, label flips and deletes in random order, before two agents that each select some of them.

const OPERATIONS = 200
const NAMES = 24
/** In the command line of every child. */
const MARKER = `registration-test-${process.pid}`
const SELECTORS = [[{ labels: { env: 'dev' } }], [{ labels: { env: 'prod' } }, { labels: { team: ['red', 'blue'] } }]]

let cluster: Cluster
let agents: RemoteAgent[] = []
let token = ''

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
  agents = [
    await startRemoteAgent(cluster, { app: { resources: SELECTORS[0] } }),
    await startRemoteAgent(cluster, { app: { resources: SELECTORS[1] } }),
  ]
})
afterAll(async () => {
  for (const agent of agents) await agent.close()
  await cluster.close()
})

type Labels = Record<string, string>

/** What the selectors above say, in other words. */
const matches = [
  (labels: Labels) => labels['env'] === 'dev',
  (labels: Labels) => labels['env'] === 'prod' || labels['team'] === 'red' || labels['team'] === 'blue',
]

function createRandom(seed: number): <T>(...choices: T[]) => T {
  let state = seed
  return (...choices) => {
    state = (state * 48_271) % 2_147_483_647
    const chosen = choices[state % choices.length]
    if (chosen === undefined) throw new Error('no choice')
    return chosen
  }
}

async function save(name: string, labels: Labels, version: number): Promise<void> {
  const mcp = { command: process.execPath, args: [ECHO_STDIO, MARKER, String(version)], run_as_host_user: userInfo().username }
  await cluster.save({ kind: 'app', version: 'v3', metadata: { name, labels }, spec: { mcp } })
}

/** Opens a session and leaves it open: its child is there until the server goes. */
async function openSession(name: string): Promise<void> {
  const client = new Client({ name: 'test', version: '1' })
  const headers = { authorization: `Bearer ${token}` }
  await client.connect(new StreamableHTTPClientTransport(cluster.mcpUrl(name), { requestInit: { headers } }))
  await client.callTool({ name: 'echo', arguments: { text: 'hi' } })
}

const children = () => (hasProc ? listProcesses() : []).filter(({ command, state }) => state !== 'Z' && command.includes(MARKER))

/** One agent of the two goes, or comes back as the same host, or as another. */
async function stir(random: ReturnType<typeof createRandom>, isUp: boolean[]): Promise<void> {
  const index = random(0, 1)
  const agent = agents[index]
  if (!agent) return
  const what = random('stop', 'restart', 'replace')
  if (what === 'stop') await agent.stop()
  else if (what === 'restart') await agent.restart()
  else {
    await agent.close()
    agents[index] = await startRemoteAgent(cluster, { app: { resources: SELECTORS[index] } })
  }
  isUp[index] = what !== 'stop'
}

test.each([
  ['that stay', 20_261_121, 0],
  ['that come and go', 31, 12],
])(
  'before agents %s, at rest is served what a model says, and nothing else; no child is left over',
  async (_, seed, stirs) => {
    const random = createRandom(seed)
    const model = new Map<string, Labels>()
    const isUp = [true, true]
    if (stirs > 0) for (const agent of agents) await agent.restart()
    let sessions = 0
    // Somewhere in between: at the end all that had one may be gone.
    let hadChild = false
    for (let step = 0; step < OPERATIONS; step++) {
      if (stirs > 0 && step % Math.ceil(OPERATIONS / stirs) === 0) await stir(random, isUp)
      const name = `app-${String(random(...Array.from({ length: NAMES }, (_, index) => index))).padStart(2, '0')}`
      const what = random('save', 'save', 'flip', 'flip', 'delete', 'use')
      const labels = { env: random('dev', 'prod', 'none'), team: random('red', 'blue', 'green') }
      if (what === 'delete' && model.delete(name)) await cluster.admin(deleteResource, { kind: 'app', name })
      else if (what === 'use') {
        // It may just be going: that is no fault here.
        if (model.has(name))
          await openSession(name)
            .then(() => {
              sessions += 1
              hadChild ||= children().length > 0
            })
            .catch(() => undefined)
      } else if (what !== 'delete') {
        await save(name, labels, what === 'save' ? step : 0)
        model.set(name, labels)
      }
    }
    // Of agents that go few sessions are left, and maybe none.
    expect(sessions).toBeGreaterThan(stirs > 0 ? 1 : 5)
    expect(hadChild).toBe(hasProc)

    const offered = async (): Promise<string> => {
      const { items } = await cluster.admin(listResources, { kind: 'app_server' })
      return items
        .map(({ metadata }) => metadata.name)
        .toSorted()
        .join(' ')
    }
    const wanted = [...model]
      .flatMap(([name, labels]) =>
        agents.flatMap(({ host }, index) => (isUp[index] && matches[index]?.(labels) ? [`${name}@${host.hostId}`] : [])),
      )
      .toSorted()
      .join(' ')
    await eventually(`the servers of the model: ${wanted}`, async () => (await offered()) === wanted || undefined, 60_000)
    const visible = [...model]
      .filter(([, labels]) => matches.some((isMatch, index) => isUp[index] && isMatch(labels)))
      .map(([name]) => name)
    await sees(cluster, token, ...visible.toSorted())
    const gone = [...model.keys()].find((name) => !visible.includes(name)) ?? 'app-99'
    await expect(openSession(gone)).rejects.toThrow()

    for (const name of model.keys()) await cluster.admin(deleteResource, { kind: 'app', name })
    await sees(cluster, token)
    await eventually('no child', () => children().length === 0 || undefined, 30_000)
  },
  240_000,
)
