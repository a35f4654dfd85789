/**
 * Starts the echo server as another account, like an agent, and prints what it says of its environment and accounts:
 * `node test/fakes/ask-whoami.ts ACCOUNT`.
 */
import { createStdioUpstream } from '../../src/mcp/upstream/stdio.ts'
import { call, never, toolText } from './outgoing.ts'
import { ECHO_STDIO, openAs, stdioApp, stdioDeps } from './stdio-app.ts'

const upstream = createStdioUpstream(stdioApp(process.execPath, [ECHO_STDIO], process.argv[2]), await stdioDeps())
const session = await upstream.open(openAs('legacy'))
process.stdout.write(`${toolText(await session.send(call('1', 'whoami'), never))}\n`)
await upstream.close()
