import type { Rule } from '../resources/role.ts'

/** What each service may do at the Auth Service, written like the rules of any role. A service without a row may do nothing. */
const SYSTEM_ROLE_RULES: Readonly<Record<string, readonly Rule[]>> = {
  Admin: [{ resources: ['*'], verbs: ['*'] }],
  Proxy: [
    { resources: ['app', 'app_server', 'db', 'db_server', 'lock', 'mcp_set', 'app_auth_config'], verbs: ['list', 'read'] },
    { resources: ['mcp_name'], verbs: ['create', 'read'] },
    { resources: ['mcp_session'], verbs: ['create', 'read', 'delete'] },
    { resources: ['proxy'], verbs: ['list', 'read', 'create', 'update', 'delete'] },
    { resources: ['event'], verbs: ['create'] },
  ],
  App: [
    { resources: ['role', 'app', 'proxy', 'lock', 'cluster_auth_preference'], verbs: ['list', 'read'] },
    { resources: ['user', 'bot'], verbs: ['list', 'readnosecrets'] },
    { resources: ['app_server'], verbs: ['create', 'update', 'delete'] },
    { resources: ['event'], verbs: ['create'] },
    { resources: ['identity_token'], verbs: ['create'] },
    { resources: ['secret'], verbs: ['list', 'readnosecrets'] },
    { resources: ['secret_value'], verbs: ['read'] },
    { resources: ['upstream_token'], verbs: ['create'] },
  ],
  Db: [
    { resources: ['role', 'db', 'proxy', 'lock', 'cluster_auth_preference'], verbs: ['list', 'read'] },
    { resources: ['user', 'bot'], verbs: ['list', 'readnosecrets'] },
    { resources: ['db_server'], verbs: ['create', 'update', 'delete'] },
    { resources: ['db_certificate'], verbs: ['create'] },
    { resources: ['event'], verbs: ['create'] },
  ],
}

/** The rules of these system roles together. */
export function systemRules(names: readonly string[]): Rule[] {
  return names.flatMap((name) => (Object.hasOwn(SYSTEM_ROLE_RULES, name) ? (SYSTEM_ROLE_RULES[name] ?? []) : []))
}
