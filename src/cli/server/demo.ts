import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { createApiClient, type ApiClient } from '../../client/call.ts'
import { acceptInvite, inviteUser, resetUser } from '../../api/users.ts'
import { getResource, upsertResource } from '../../api/resources.ts'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import { type AuthService, localAdministrator } from '../../services/auth/start.ts'

const USER = 'demo'
const ROLE = 'demo'

/** The script of the Everything server, which comes with the development dependencies. */
export function findEverything(): string {
  const require = createRequire(import.meta.url)
  try {
    return join(dirname(require.resolve('@modelcontextprotocol/server-everything/package.json')), 'dist', 'index.js')
  } catch (cause) {
    throw new AppError('failed_precondition', 'the demo needs @modelcontextprotocol/server-everything: run npm ci in the checkout first', {
      cause,
    })
  }
}

/** Registers two MCP servers, a role and a user; the same again changes nothing. The password stands in `passwordFile`. */
export async function createDemo(auth: AuthService, { httpUrl, passwordFile }: { httpUrl: string; passwordFile: string }): Promise<void> {
  const api = createApiClient(auth.carrier(localAdministrator(Date.now())))
  await save(api, {
    kind: 'app',
    version: 'v3',
    metadata: { name: 'everything', description: 'The Everything MCP server, over stdio', labels: { env: 'demo' } },
    spec: { mcp: { command: process.execPath, args: [findEverything(), 'stdio'], run_as_host_user: accountName() } },
  })
  await save(api, {
    kind: 'app',
    version: 'v3',
    metadata: { name: 'everything-http', description: 'The Everything MCP server, over streamable HTTP', labels: { env: 'demo' } },
    spec: { uri: `mcp+${httpUrl}` },
  })
  await save(api, {
    kind: 'role',
    version: 'v8',
    metadata: { name: ROLE, description: 'The servers of the demo, without the tool that shows the environment' },
    spec: { allow: { app_labels: { env: 'demo' }, mcp: { tools: ['*'] } }, deny: { mcp: { tools: ['get-env'] } } },
  })
  await createUser(api, passwordFile)
}

async function save(
  api: ApiClient,
  resource: { kind: string; version: string; metadata: { name: string; [key: string]: unknown }; spec: unknown },
): Promise<void> {
  await api(upsertResource, { kind: resource.kind, name: resource.metadata.name, resource })
}

async function createUser(api: ApiClient, passwordFile: string): Promise<void> {
  const hasUser = await api(getResource, { kind: 'user', name: USER }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof AppError && error.code === 'not_found') return false
      throw error
    },
  )
  if (hasUser && (await readTextIfPresent(passwordFile))) return
  const password = randomBytes(18).toString('base64url')
  await writeFileAtomic(passwordFile, `${password}\n`)
  const { path } = hasUser ? await api(resetUser, { name: USER }) : await api(inviteUser, { name: USER, roles: [ROLE] })
  const token = path.split('/').at(-1) ?? ''
  await api(acceptInvite, { token, password })
}

/** The account this runs as, by its number where the system knows no name for it. */
function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 0)
  }
}
