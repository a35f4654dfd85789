import { randomBytes } from 'node:crypto'
import { userInfo } from 'node:os'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../../src/lib/log.ts'
import { openHost } from '../../src/mcp/hosting/host.ts'
import type { Host } from '../../src/mcp/hosting/host.ts'
import { createChildRegistry } from '../../src/mcp/upstream/child.ts'
import type { ChildRegistry } from '../../src/mcp/upstream/child.ts'
import type { StdioDeps } from '../../src/mcp/upstream/stdio.ts'
import type { StdioLimits } from '../../src/mcp/upstream/stdio-limits.ts'
import type { OpenOptions } from '../../src/mcp/upstream/upstream.ts'
import { appSchema } from '../../src/resources/app.ts'
import type { App } from '../../src/resources/app.ts'
import type { Hosting } from '../../src/resources/hosting.ts'

export const ECHO_STDIO = fileURLToPath(new URL('echo-stdio.ts', import.meta.url))

export const ownAccount = userInfo()

/** An app that runs `command` as our own account. */
export function stdioApp(command: string, args: readonly string[], account = ownAccount.username, hosting: Hosting = {}): App {
  return appSchema.parse({
    kind: 'app',
    version: 'v3',
    metadata: { name: 'tools' },
    spec: { mcp: { command, args: [...args], run_as_host_user: account, ...hosting } },
  })
}

/** The echo server of this folder. */
export function echoApp(...flags: string[]): App {
  return stdioApp(process.execPath, [ECHO_STDIO, ...flags])
}

/** What a stdio upstream needs, over real processes of this machine. */
export async function stdioDeps(
  limits: Partial<StdioLimits> = {},
  env: StdioDeps['env'] = process.env,
): Promise<StdioDeps & { registry: ChildRegistry }> {
  const host = await thisMachine()
  return { ...host, env, registry: createChildRegistry(), limits: { stopGraceMs: 2000, ...limits } }
}

let machine: Promise<Host> | undefined

/** The machine the tests run on, looked at once; what it keeps of process trees goes when this process does. */
function thisMachine(): Promise<Host> {
  const account = { uid: ownAccount.uid, name: ownAccount.username, hostname: 'here' }
  return (machine ??= openHost({ env: process.env, account, hidden: [], token: randomBytes(8).toString('hex'), log: silentLogger }))
}

export function openAs(era: 'legacy' | 'modern', headers: Readonly<Record<string, string>> = {}): OpenOptions {
  return { era, headers, caller: { name: 'alice', kind: 'user', roles: ['access'] } }
}
