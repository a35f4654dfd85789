import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { askHttp } from '../fakes/raw-http.ts'
import { openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ROOT } from '../programs.ts'
import { eventually } from '../wait.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ diag: { host: '127.0.0.1', port: 0 } })
  await cluster.saveStdioApp('echo', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')])
  await cluster.saveRole('some', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana', ['some'])
})

afterAll(async () => await cluster?.close())

function ask(path: string, request: { method?: string; headers?: Record<string, string> } = {}) {
  const { port } = cluster.running.diagnostics ?? { port: 0 }
  return askHttp(new URL(path, `http://127.0.0.1:${port}`), { method: 'GET', ...request })
}

test('nothing else is there, for nobody else', async () => {
  expect((await ask('/v1/users')).status).toBe(404)
  expect((await ask('/metrics', { method: 'POST' })).status).toBe(405)
  expect((await ask('/metrics', { headers: { host: 'rebound.example.com' } })).status).toBe(403)
})

test('health and readiness', async () => {
  expect(await ask('/healthz')).toMatchObject({ status: 200, text: '{"status":"ok"}' })
  expect(await ask('/readyz')).toMatchObject({ status: 200, text: '{"status":"ok"}' })
})

test('calls, denials and open sessions are counted, by server', async () => {
  const [url, token] = [cluster.mcpUrl('echo'), await cluster.tokenOf('ana')]
  const session = await openSession(url, token)
  const send = (text: string) => postMessage(url, token, session, text)
  await send('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"a"}}}')
  await send('{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"rm","arguments":{}}}')
  await send('{"jsonrpc":"2.0","id":3,"method":"acme/run"}')
  await send('{"jsonrpc":"2.0","id":4,"method":"prompts/get","params":{"name":"none"}}')
  const text = await eventually('the counters', async () => {
    const shown = (await ask('/metrics')).text
    return shown.includes('prompts/get') ? shown : undefined
  })
  const lines = text.split('\n')
  expect(lines).toContain('sallyport_mcp_requests_total{server="echo",method="tools/call",outcome="success"} 1')
  expect(lines).toContain('sallyport_mcp_requests_total{server="echo",method="prompts/get",outcome="rpc_error"} 1')
  expect(lines).toContain('sallyport_mcp_failures_total{server="echo",origin="upstream"} 1')
  expect(lines).toContain('sallyport_mcp_denials_total{server="echo",kind="no_tool"} 1')
  expect(lines).toContain('sallyport_mcp_denials_total{server="echo",kind="unknown_method"} 1')
  expect(lines).toContain('sallyport_mcp_open_conversations{server="echo"} 1')
  expect(lines).toContain('sallyport_mcp_request_duration_seconds_count{server="echo"} 3')
  expect(text).toMatch(/^sallyport_mcp_response_bytes_total\{server="echo"\} [1-9]\d+$/m)
  expect(text).toMatch(/^sallyport_audit_journal_bytes [1-9]\d+$/m)
  expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d{6,}$/m)
  expect(text).toMatch(/^nodejs_eventloop_lag_seconds\{quantile="0.99"\} \d/m)
  expect(text).not.toContain('acme/run')
})

test('what is broken at the URL of all servers is a gauge', async () => {
  await cluster.saveHttpApp('dead', 'http://127.0.0.1:1/mcp')
  const [url, token] = [new URL('/mcp', cluster.url), await cluster.tokenOf('ana')]
  await postMessage(url, token, await openSession(url, token), '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  const lines = (await ask('/metrics')).text.split('\n')
  expect(lines.filter((line) => line.startsWith('sallyport_mcp_quarantined'))).toEqual([
    'sallyport_mcp_quarantined{server="dead",what="initialize"} 1',
    'sallyport_mcp_quarantined{server="dead",what="tools/list"} 1',
  ])
})
