import { expect, test } from 'vitest'
import { hasProc } from '../../../test/fakes/processes.ts'
import { openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { createStdioUpstream } from '../upstream/stdio.ts'
import { KINDS, playHostile } from '../../../test/hostile-sessions.ts'

if (!hasProc) process.stderr.write('skipped: hostile stdio servers, since this system has no /proc to look at\n')

test.skipIf(!hasProc).each(KINDS)('of many sessions with a server of kind %s nothing is left', { timeout: 120_000 }, async (kind) => {
  const figures = await playHostile(kind, 24)
  expect(figures).toMatchObject({ opened: 24, processes: { left: 0 } })
  expect(figures.processes.peak).toBeGreaterThan(3)
  // The reading end of a stream may be closed a turn later.
  expect(figures.openFiles.after).toBeLessThanOrEqual(figures.openFiles.before + 2)
})

test('a program that floods its standard output is ended long before its time', async () => {
  const upstream = createStdioUpstream(stdioApp('/bin/sh', ['-c', 'while :; do echo Server ready; done']), await stdioDeps())
  const session = await upstream.open(openAs('legacy'))
  expect(await session.ended).toBe('MCP server "tools" floods its standard output with lines that are no answer to anything')
  await upstream.close()
})
