import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { openDatedClient } from './dated-client.ts'
import { type DatedServer, startDatedServer } from './dated-server.ts'
import { AS_IT_IS, amongOthers, FEATURES } from './features.ts'
import { outcomeOf, REVISIONS } from './outcome.ts'
import { renderPage, type Seen } from './page.ts'

// Every published revision of a client before every published revision of a server, at the URL of that server alone and at the URL of all
// five at once. What is seen is docs/reference/revisions.md; `WRITE_REFERENCE=1 npx vitest run test/pairs` writes it anew.

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'reference', 'revisions.md')
const servers = new Map<string, DatedServer>()
let cluster: Cluster
let token: string

const nameOf = (revision: string): string => `server-${revision}`
const WAYS = [
  { way: 'alone', pathOf: (revision: string) => `/mcp/apps/${nameOf(revision)}`, exposedOf: () => AS_IT_IS },
  { way: 'among all', pathOf: () => '/mcp', exposedOf: (revision: string) => amongOthers(nameOf(revision)) },
] as const
const seen = new Map<string, string>()
const seenBy =
  (way: string): Seen =>
  (feature, client, server) =>
    seen.get(`${way}: ${feature} ${client} ${server}`) ?? 'not run'

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ada', ['all'])
  token = await cluster.tokenOf('ada')
  for (const revision of REVISIONS) {
    const server = await startDatedServer(revision)
    servers.set(revision, server)
    const metadata = { name: nameOf(revision), labels: { env: 'test' } }
    await cluster.save({ kind: 'app', version: 'v3', metadata, spec: { uri: server.uri } })
  }
  await cluster.running.agent?.announced()
})

afterAll(async () => {
  await cluster.close()
  for (const server of servers.values()) await server.close()
})

describe.each(WAYS)('$way', ({ way, pathOf, exposedOf }) => {
  describe.each(REVISIONS)('a client of %s', (clientRevision) => {
    test.each(REVISIONS)(
      'before a server of %s',
      async (serverRevision) => {
        const server = servers.get(serverRevision)
        if (!server) throw new Error(`no server of ${serverRevision}`)
        const client = await openDatedClient(clientRevision, new URL(pathOf(serverRevision), cluster.url), token)
        const failed: string[] = []
        try {
          for (const feature of FEATURES) {
            const outcome = await outcomeOf(feature, client, server, exposedOf(serverRevision))
            seen.set(`${way}: ${feature.name} ${clientRevision} ${serverRevision}`, outcome)
            if (outcome.startsWith('FAILED')) failed.push(`${feature.name}: ${outcome}`)
          }
        } finally {
          await client.close()
        }
        expect(failed).toEqual([])
        for (const { revision, faults } of servers.values()) expect([revision, ...faults]).toEqual([revision])
      },
      60_000,
    )
  })
})

test('docs/reference/revisions.md says what was seen', async () => {
  const page = renderPage(seenBy('alone'), seenBy('among all'))
  if (process.env['WRITE_REFERENCE'] === '1') await writeFile(PAGE, page)
  expect(await readFile(PAGE, 'utf8')).toBe(page)
})
