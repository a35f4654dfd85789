import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { openDatedClient } from './dated-client.ts'
import { type DatedServer, startDatedServer } from './dated-server.ts'
import { FEATURES } from './features.ts'
import { outcomeOf, REVISIONS } from './outcome.ts'
import { renderPage } from './page.ts'

// Every published revision of a client before every published revision of a server. What is seen is docs/reference/revisions.md;
// `WRITE_REFERENCE=1 npx vitest run test/pairs` writes it anew.

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'reference', 'revisions.md')
const seen = new Map<string, string>()
const servers = new Map<string, DatedServer>()
let cluster: Cluster
let token: string

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ada', ['all'])
  token = await cluster.tokenOf('ada')
  for (const revision of REVISIONS) {
    const server = await startDatedServer(revision)
    servers.set(revision, server)
    const metadata = { name: `server-${revision}`, labels: { env: 'test' } }
    await cluster.save({ kind: 'app', version: 'v3', metadata, spec: { uri: server.uri } })
  }
  await cluster.running.agent?.announced()
})

afterAll(async () => {
  await cluster.close()
  for (const server of servers.values()) await server.close()
})

describe.each(REVISIONS)('a client of %s', (clientRevision) => {
  test.each(REVISIONS)(
    'before a server of %s',
    async (serverRevision) => {
      const server = servers.get(serverRevision)
      if (!server) throw new Error(`no server of ${serverRevision}`)
      const client = await openDatedClient(clientRevision, cluster.mcpUrl(`server-${serverRevision}`), token)
      try {
        for (const feature of FEATURES) {
          const outcome = await outcomeOf(feature, client, server)
          seen.set(`${feature.name} ${clientRevision} ${serverRevision}`, outcome)
        }
      } finally {
        await client.close()
      }
      const failed = [...seen].filter(
        ([key, outcome]) => key.endsWith(`${clientRevision} ${serverRevision}`) && outcome.startsWith('FAILED'),
      )
      expect(failed).toEqual([])
      expect(server.faults).toEqual([])
    },
    60_000,
  )
})

test('docs/reference/revisions.md says what was seen', async () => {
  const page = renderPage((feature, client, server) => seen.get(`${feature} ${client} ${server}`) ?? 'not run')
  if (process.env['WRITE_REFERENCE'] === '1') await writeFile(PAGE, page)
  expect(await readFile(PAGE, 'utf8')).toBe(page)
})
