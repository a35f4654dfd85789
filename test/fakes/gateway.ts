/**
 * A process that opens stdio sessions like a gateway and then ends, to see what it leaves behind:
 * `node test/fakes/gateway.ts exit|hang COUNT MARK`. It prints `ready` when all sessions answer; `exit` ends at once, `hang` waits to be killed.
 */
import { createStdioUpstream } from '../../src/mcp/upstream/stdio.ts'
import { call, never } from './outgoing.ts'
import { echoApp, openAs, stdioDeps } from './stdio-app.ts'

const [how, count, mark] = process.argv.slice(2)
const deps = await stdioDeps()
process.on('exit', () => deps.registry.killAllNow())
const upstream = createStdioUpstream(echoApp('--stubborn', '--grandchild', '--daemon', `--mark=${mark}`), deps)
const opening = Array.from({ length: Number(count) }, async () => {
  const session = await upstream.open(openAs('legacy'))
  await session.send(call('1', 'pid'), never)
})
await Promise.all(opening)
process.stdout.write('ready\n', () => {
  if (how === 'exit') process.exit(0)
})
