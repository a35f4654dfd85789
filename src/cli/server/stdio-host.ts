import { randomBytes } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { Logger } from '../../lib/log.ts'
import type { Environment } from '../../lib/paths.ts'
import { type Host, openHost } from '../../mcp/hosting/host.ts'

/** This machine, as one that runs the programs of stdio servers; nothing of `dataDirectory` is seen in a sandbox. */
export function openStdioHost(dataDirectory: string, env: Environment, log: Logger): Promise<Host> {
  const account = { uid: process.getuid?.() ?? 0, name: userInfo().username, hostname: hostname() }
  return openHost({ env, account, hidden: [resolve(dataDirectory)], token: randomBytes(8).toString('hex'), log })
}
