import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/cli/server/config.ts'

const load = (file: string) => loadConfig({ file: join(import.meta.dirname, file), dataDirectory: undefined, env: {} })

test('a replica runs Auth and Proxy Service on a shared store, with a key of the cluster', async () => {
  const { auth, proxy, agent, store } = await load('sallyport.yaml')
  expect(store).toMatchObject({ type: 'postgresql', at: expect.stringContaining('db.example.com') })
  expect(auth).toMatchObject({ enabled: true, secret_key_file: '/etc/sallyport/secret.key' })
  expect(proxy).toMatchObject({ enabled: true, public_addr: 'mcp.example.com:443', tunnel_public_addr: 'proxy-a.example.com:443' })
  expect(agent.enabled).toBe(false)
})

test('an agent needs the one address only', async () => {
  const { auth, proxy, agent, membership } = await load('agent.yaml')
  expect([auth.enabled, proxy.enabled, agent.enabled]).toEqual([false, false, true])
  expect(membership).toBeDefined()
})
