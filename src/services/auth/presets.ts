import { CLUSTER_AUTH_PREFERENCE } from '../../resources/cluster-auth-preference.ts'
import type { ClusterAuthPreference } from '../../resources/cluster-auth-preference.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Role } from '../../resources/role.ts'

/**
 * Roles every new cluster has. They are ordinary roles: an administrator may change or delete them,
 * and a later start does not bring a deleted one back.
 */
export function presetRoles(): Role[] {
  return [
    preset('access', 'Reaches every MCP server and database, as the traits mcp_tools, db_users and db_names say.', {
      app_labels: { '*': '*' },
      mcp: { tools: ['{{internal.mcp_tools}}'] },
      db_labels: { '*': '*' },
      db_users: ['{{internal.db_users}}'],
      db_names: ['{{internal.db_names}}'],
    }),
    preset('editor', 'Administers the cluster.', { rules: [{ resources: ['*'], verbs: ['*'] }] }),
    preset('auditor', 'Reads the audit log.', {
      rules: [
        { resources: ['event'], verbs: ['list', 'read'] },
        { resources: ['session'], verbs: ['list', 'read'] },
      ],
    }),
    preset('mcp-user', 'Reaches every MCP server with every tool.', {
      app_labels: { 'teleport.internal/app-sub-kind': 'mcp' },
      mcp: { tools: ['*'] },
    }),
  ]
}

export function defaultAuthPreference(): ClusterAuthPreference {
  return parseResource('cluster_auth_preference', {
    kind: 'cluster_auth_preference',
    version: 'v2',
    metadata: { name: CLUSTER_AUTH_PREFERENCE, labels: { 'teleport.dev/origin': 'defaults' } },
    spec: { second_factor: 'optional' },
  })
}

function preset(name: string, description: string, allow: unknown): Role {
  return parseResource('role', {
    kind: 'role',
    version: 'v8',
    metadata: { name, description, labels: { 'teleport.internal/resource-type': 'preset' } },
    spec: { allow },
  })
}
