import { expect, test } from 'vitest'
import { createMetrics } from './metrics.ts'

test.each([['a b'], ['1a'], ['a-b'], ['']])('a metric cannot be named %j', (name) => {
  expect(() => createMetrics().counter({ name, help: '' })).toThrow('cannot be added')
})

test('a name is taken once, and labels have names too', () => {
  const metrics = createMetrics()
  metrics.counter({ name: 'a_total', help: '' })
  expect(() => metrics.gauge({ name: 'a_total', help: '' }, () => 1)).toThrow('cannot be added')
  expect(() => metrics.counter({ name: 'b_total', help: '', labels: ['x y'] })).toThrow('cannot be added')
})

test('counters, with what stands in labels and help escaped', () => {
  const metrics = createMetrics()
  const calls = metrics.counter({ name: 'calls_total', help: 'Calls\nof \\ all', labels: ['server', 'method'] })
  calls('a"b\\c\nd', 'x').value += 2
  calls('e', 'y').value += 1
  calls('a"b\\c\nd', 'x').value += 0.5
  expect(metrics.render()).toBe(
    '# HELP calls_total Calls\\nof \\\\ all\n# TYPE calls_total counter\n' +
      'calls_total{server="a\\"b\\\\c\\nd",method="x"} 2.5\ncalls_total{server="e",method="y"} 1\n',
  )
})

test('a histogram counts upwards, bounds included', () => {
  const metrics = createMetrics()
  const latency = metrics.histogram({ name: 's', help: 'h', labels: ['server'], buckets: [0.1, 1] })('a')
  for (const value of [0.05, 0.1, 0.5, 7]) latency.observe(value)
  expect(metrics.render()).toBe(
    '# HELP s h\n# TYPE s histogram\n' +
      's_bucket{server="a",le="0.1"} 2\ns_bucket{server="a",le="1"} 3\ns_bucket{server="a",le="+Inf"} 4\ns_sum{server="a"} 7.65\ns_count{server="a"} 4\n',
  )
})

test('gauges are read when asked for', () => {
  const metrics = createMetrics()
  let open = 1
  metrics.gauge({ name: 'open', help: 'o' }, () => open)
  metrics.gauge({ name: 'cpu_total', help: 'c', isCounter: true, labels: ['of'] }, () => [
    [['a'], 1.5],
    [['b'], Number.POSITIVE_INFINITY],
  ])
  open = 3
  expect(metrics.render()).toBe(
    '# HELP open o\n# TYPE open gauge\nopen 3\n# HELP cpu_total c\n# TYPE cpu_total counter\ncpu_total{of="a"} 1.5\ncpu_total{of="b"} +Inf\n',
  )
})

test('series are bounded: what is too much counts as other', () => {
  const metrics = createMetrics()
  const calls = metrics.counter({ name: 'c_total', help: 'h', labels: ['x'], maxSeries: 2 })
  for (const name of ['a', 'b', 'c', 'd', 'a']) calls(name).value += 1
  expect(metrics.render()).toBe('# HELP c_total h\n# TYPE c_total counter\nc_total{x="a"} 2\nc_total{x="b"} 1\nc_total{x="other"} 2\n')
})
