import type { HostUser } from '../upstream/host-user.ts'

const PASSED_ON = new Set(['PATH', 'LANG', 'TZ', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'])

export interface ChildEnvironment {
  /** The agent's own environment, of which an allow list is handed on. */
  own: Readonly<Record<string, string | undefined>>
  user: HostUser
  changesUser: boolean
  /** What the server's spec sets, and the secret files it names. */
  set: Readonly<Record<string, string>>
  /** Its /tmp is its own. */
  isSandbox: boolean
}

/** The environment of an MCP server: a few variables of the agent's, its account's, and what was set for it. None of our secrets. */
export function childEnvironment({ own, user, changesUser, set, isSandbox }: ChildEnvironment): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(own)) {
    const isProxy = PASSED_ON.has(name.toUpperCase()) && name.toUpperCase().endsWith('_PROXY')
    if (value !== undefined && (PASSED_ON.has(name) || isProxy || name.startsWith('LC_'))) env[name] = value
  }
  // Our temporary directory may be closed to somebody else.
  if (own['TMPDIR'] && !changesUser && !isSandbox) env['TMPDIR'] = own['TMPDIR']
  env['PATH'] ??= '/usr/local/bin:/usr/bin:/bin'
  return { ...env, HOME: user.home, USER: user.name, LOGNAME: user.name, SHELL: user.shell, TERM: 'dumb', ...set }
}
