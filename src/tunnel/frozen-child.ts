import { connect } from 'node:net'
import { silentLogger } from '../lib/log.ts'
import { serveTunnel } from './agent-tunnel.ts'
import { realClock } from './clock.ts'

/** An agent for tests that freeze or kill it: answers `/echo`, and nothing else. */
const socket = connect(Number(process.argv[2]), '127.0.0.1')
serveTunnel(
  socket,
  ({ answer, body, path }) => {
    if (path !== '/echo') return
    answer.head(200, {})
    answer.end(body)
  },
  { clock: realClock, log: silentLogger },
)
socket.on('close', () => process.exit(0))
