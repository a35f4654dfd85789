import { expect, test } from 'vitest'
import { createMetrics } from '../lib/metrics.ts'
import { createMcpMetrics } from './metrics.ts'

test('names of callers’ choosing become no labels, however many there are', () => {
  const metrics = createMetrics()
  const server = createMcpMetrics(metrics).of('a')
  for (let index = 0; index < 2000; index++) server.ended(`acme/${index}`, 'success', 1, undefined, undefined)
  expect(metrics.render()).toContain('sallyport_mcp_requests_total{server="a",method="other",outcome="success"} 2000\n')
  expect(metrics.render()).not.toContain('acme')
})

test('servers beyond the first 500 are counted as one', () => {
  const metrics = createMetrics()
  const mcp = createMcpMetrics(metrics)
  for (let index = 0; index < 510; index++) mcp.of(`server-${index}`).opened()
  mcp.of('server-1').closed()
  const lines = metrics.render().split('\n')
  expect(lines).toContain('sallyport_mcp_open_conversations{server="other"} 10')
  expect(lines).toContain('sallyport_mcp_open_conversations{server="server-1"} 0')
  expect(lines.some((line) => line.includes('server-500'))).toBe(false)
})

test('what failed is told by whose fault it was; what a tool reports is no failure of the server', () => {
  const metrics = createMetrics()
  const server = createMcpMetrics(metrics).of('a')
  server.ended('tools/call', 'unanswered', 0, 0.5, 'upstream_unreachable')
  server.ended('tools/call', 'unanswered', 0, 0.5, undefined)
  server.ended('tools/call', 'rpc_error', 10, 0.02, 'upstream')
  server.ended('tools/call', 'tool_error', 10, 0.02, undefined)
  const failures = metrics
    .render()
    .split('\n')
    .filter((line) => line.startsWith('sallyport_mcp_failures_total'))
  expect(failures).toEqual([
    'sallyport_mcp_failures_total{server="a",origin="upstream_unreachable"} 1',
    'sallyport_mcp_failures_total{server="a",origin="unknown"} 1',
    'sallyport_mcp_failures_total{server="a",origin="upstream"} 1',
  ])
  expect(metrics.render()).toContain('sallyport_mcp_request_duration_seconds_bucket{server="a",le="0.025"} 2\n')
})
