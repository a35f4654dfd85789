import { expect, test } from 'vitest'
import { openAs, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createUpstream } from './open.ts'
import type { Upstream } from './upstream.ts'

async function upstreamOf(spec: object): Promise<Upstream> {
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'a' }, spec })
  return createUpstream(app, { now: Date.now, log: silentLogger, demo: { clusterName: 'castle' }, stdio: await stdioDeps(), http: {} })
}

test('SSE servers have no modern conversations', async () => {
  for (const uri of ['mcp+sse+http://127.0.0.1:1/sse', 'mcp+sse+https://127.0.0.1:1/sse']) {
    const sse = await upstreamOf({ uri })
    await expect(sse.open(openAs('modern'))).rejects.toMatchObject({ code: 'unimplemented' })
    await expect(sse.open(openAs('legacy'))).rejects.toMatchObject({ code: 'unavailable', origin: 'upstream_unreachable' })
    await sse.close()
  }
})

test('the scheme picks how a server is reached', async () => {
  const demo = await upstreamOf({ uri: 'mcp+stdio://teleport-mcp-demo' })
  const session = await demo.open(openAs('legacy'))
  expect((await session.listen({}, new AbortController().signal)).kind).toBe('refused')
  await demo.close()

  const stdio = await upstreamOf({ mcp: { command: 'no-such-program', run_as_host_user: 'root' } })
  await expect(stdio.open(openAs('legacy'))).rejects.toMatchObject({ code: 'failed_precondition' })

  const http = await upstreamOf({ uri: 'mcp+http://127.0.0.1:1/mcp' })
  expect((await http.open(openAs('legacy'))).externalId).toBe(undefined)
  await http.close()
})
