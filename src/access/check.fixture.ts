import type { Identity } from '../resources/identity.ts'
import { type Role, roleSchema } from '../resources/role.ts'
import { serverAccess } from './check.ts'
import { compileRoles } from './role-set.ts'

// The server and the caller that the tests of check.ts are about.

const server = { name: 'files', labels: { env: 'prod', team: 'a' } }
export const ana: Identity = {
  kind: 'user',
  name: 'ana',
  roles: [],
  traits: { mcp_tools: ['get_*'], team: ['a'] },
  credential: 'certificate',
  credentialId: '1',
  expiresAt: 0,
  mfaVerified: false,
}

export const all = { app_labels: { '*': '*' } }
export const allTools = { ...all, mcp: { tools: ['*'] } }

export function role(name: string, spec: Record<string, unknown>): Role {
  return roleSchema.parse({ kind: 'role', version: 'v8', metadata: { name }, spec })
}

export function accessOf(roles: Role[], identity: Partial<Identity> = {}, facts: { mfaVerified?: boolean; requireMfa?: boolean } = {}) {
  return serverAccess(compileRoles(roles, { ...ana, ...identity }), server, { mfaVerified: false, requireMfa: false, ...facts })
}
