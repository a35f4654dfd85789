import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { userInfo } from 'node:os'
import { atRandom, type Balancer, inTurn } from '../fakes/balancer.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { type Replicas, startReplicas } from '../replicas.ts'

const EVERYTHING = '/mcp/apps/everything'
const second = (): Balancer['choose'] => {
  const next = inTurn()
  return (count) => (next(count) + 1) % count
}

describe.skipIf(POSTGRES_BIN === undefined)('OAuth of MCP clients at two replicas', () => {
  let replicas: Replicas
  beforeAll(async () => {
    replicas = await startReplicas()
    const mcp = { command: process.execPath, args: [findEverything(), 'stdio'], run_as_host_user: userInfo().username }
    await replicas.save({ kind: 'app', version: 'v3', metadata: { name: 'everything', labels: { env: 'test' } }, spec: { mcp } })
    const allow = { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }
    await replicas.save({ kind: 'role', version: 'v8', metadata: { name: 'all' }, spec: { allow } })
    await replicas.saveUser('ana', ['all'])
  }, 120_000)
  afterAll(async () => await replicas?.close())
  beforeEach(() => {
    replicas.balancer.choose = inTurn()
  })

  test.each([
    ['another one for each request', inTurn],
    ['the same, begun at the other', second],
    ['any, 1', () => atRandom(1)],
    ['any, 2', () => atRandom(99)],
  ])('a sign-in goes on at whichever replica it comes to: %s', async (_, choose) => {
    replicas.balancer.choose = choose()
    const flow = new OAuthFlow(replicas)
    const first = await flow.signIn('ana', { scope: 'mcp offline_access' })
    expect(first).toMatchObject({ status: 200 })
    for (let call = 0; call < 2; call++) expect((await flow.call(EVERYTHING, first.access_token)).status).toBe(200)
    let tokens = first
    for (let round = 0; round < 3; round++) {
      tokens = await flow.refresh(tokens.refresh_token)
      expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(200)
    }
    const body = new URLSearchParams({ client_id: flow.clientId, token: tokens.refresh_token })
    await fetch(`${replicas.url}/oauth/revoke`, { method: 'POST', body })
    for (let call = 0; call < 2; call++) expect([401, 403]).toContain((await flow.call(EVERYTHING, tokens.access_token)).status)
    expect(new Set(replicas.balancer.chosen)).toEqual(new Set([0, 1]))
  })

  test('a code that comes to both replicas at once is good at neither', async () => {
    const flow = new OAuthFlow(replicas)
    await flow.register()
    for (let round = 0; round < 3; round++) {
      const code = await flow.code('ana')
      const both = await Promise.all([flow.exchange(code), flow.exchange(code)])
      expect(both.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
      expect(both.some(({ error }) => error === 'invalid_grant')).toBe(true)
      const winner = both.find(({ status }) => status === 200)
      expect((await flow.call(EVERYTHING, winner?.access_token ?? 'none')).status).toBe(401)
    }
  })

  test('a refresh token that comes to both replicas at once is taken for stolen, and so is one that comes again', async () => {
    for (let round = 0; round < 3; round++) {
      const flow = new OAuthFlow(replicas)
      const tokens = await flow.signIn('ana', { scope: 'mcp offline_access' })
      const both = await Promise.all([flow.refresh(tokens.refresh_token), flow.refresh(tokens.refresh_token)])
      expect(both.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
      const [winner = tokens] = both.filter(({ status }) => status === 200)
      expect(await flow.refresh(winner.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
      expect((await flow.call(EVERYTHING, winner.access_token)).status).toBe(401)
    }
    const flow = new OAuthFlow(replicas)
    const first = await flow.signIn('ana', { scope: 'mcp offline_access' })
    const second = await flow.refresh(first.refresh_token)
    expect(await flow.refresh(first.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect(await flow.refresh(second.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
  })
})
