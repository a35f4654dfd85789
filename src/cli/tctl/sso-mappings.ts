import { AppError } from '../../lib/errors.ts'
import type { Invocation } from '../../lib/command-rows.ts'
import { renderYamlDocuments } from '../../lib/output.ts'
import type { ConnectorKind } from '../../resources/connector.ts'
import { parseResource } from '../../resources/registry.ts'

/** `FIRST,SECOND,ROLE[,ROLE…]` of a flag, which may stand there several times. Throws `invalid_argument`. */
export function parseMappings(call: Invocation, flag: string): { first: string; second: string; roles: string[] }[] {
  return call.list(flag).map((text) => {
    const [first = '', second = '', ...roles] = text.split(',').map((part) => part.trim())
    if (first === '' || second === '' || roles.length === 0 || roles.includes(''))
      throw new AppError('invalid_argument', `--${flag}=${text} names no role: write three words or more with commas between`)
    return { first, second, roles }
  })
}

/** What both kinds have. */
export function clientFields(call: Invocation): Record<string, unknown> {
  const redirects = call.list('redirect-url')
  return {
    ...given('display', call.text('display')),
    client_id: call.text('id'),
    ...given('client_secret', call.text('secret')),
    ...(redirects.length > 0 && { redirect_url: redirects.length === 1 ? redirects[0] : redirects }),
  }
}

/** The connector as YAML, with what was given and nothing else. Throws `invalid_argument` naming every fault. */
export function renderConnector(kind: ConnectorKind, name: string, spec: Record<string, unknown>): string {
  const resource = { kind, version: 'v3', metadata: { name }, spec }
  parseResource(kind, resource)
  return renderYamlDocuments([resource])
}

/** A member if there is something to say. */
export function given(field: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [field]: value }
}
