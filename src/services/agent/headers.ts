import type { IdentityTokenType } from '../../client/agent.ts'
import { AppError } from '../../lib/errors.ts'
import type { Caller } from '../../mcp/caller.ts'
import type { Headers, OwnHeaders } from '../../mcp/upstream/own-headers.ts'
import { type App, transportOf } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { expandForCaller, tokenTypesIn } from './caller-template.ts'
import { fillSecrets, findSecretFault, secretsIn } from '../../resources/secret.ts'

/** Carries the word of the cluster about the caller; always ours. */
const ASSERTION_HEADER = 'teleport-jwt-assertion'

/** Set by the connection itself, by the protocol or by us; a rewritten header cannot take their place. */
const RESERVED = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'content-length',
  'content-type',
  'transfer-encoding',
  'accept',
  'last-event-id',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
  ASSERTION_HEADER,
])

export interface TokenSource {
  get(type: IdentityTokenType, server: string, caller: Pick<Caller, 'assertion'>): string | Promise<string>
}

/** Tokens of callers' own accounts at the server. */
export interface AccountSource {
  get(app: App, caller: Caller): string | Promise<string>
  /** The server did not take a token. */
  refused(app: App, caller: Caller, token: string): void
}

export interface SecretSource {
  /** Throws or rejects with the reason when there is no such secret, or it is not for this server. */
  get(name: string, server: string): string | Promise<string>
}

/** For servers that no app describes. */
export const NO_SECRETS: SecretSource = {
  get(name, server) {
    throw new AppError('failed_precondition', `there is no secret "${name}" for MCP server "${server}"`)
  },
}

/**
 * The headers of every request to an HTTP server: `spec.rewrite.headers` with the caller's traits and tokens and the cluster's secrets in their
 * templates, and the signed assertion of who calls. A template without a value leaves its header out, but for secrets, which have to be there;
 * several values are one list (RFC 9110 §5.3).
 * What they throw: failed_precondition for a header that cannot be rewritten, invalid_argument for a bad template, or as tokens and secrets.
 */
export function ownHeaders(
  app: App,
  caller: () => Caller,
  tokens: TokenSource,
  secrets: SecretSource,
  accounts?: AccountSource,
): OwnHeaders {
  if (transportOf(app) === 'stdio') return {}
  const types = tokenTypes(app)
  const secretNames = [...new Set(app.spec.rewrite?.headers?.flatMap(({ value }) => secretsIn(value)))]
  const hasAccounts = app.spec.mcp?.oauth !== undefined
  let made: { from: readonly string[]; identity: Identity; headers: Headers } | undefined
  const make = (identity: Identity, values: readonly string[]): Headers => {
    if (made?.identity === identity && made.from.every((value, index) => value === values[index])) return made.headers
    const named = new Map(types.map((type, index) => [type, values[index] ?? '']))
    const secret = new Map(secretNames.map((name, index) => [name, values[types.length + index] ?? '']))
    const account: Headers = hasAccounts ? { authorization: `Bearer ${values.at(-1) ?? ''}` } : {}
    const headers = { ...rewrittenHeaders(app, identity, named, secret), ...account, [ASSERTION_HEADER]: values[0] ?? '' }
    made = { from: values, identity, headers }
    return headers
  }
  const { name: server } = app.metadata
  const now = (): Headers | Promise<Headers> => {
    const current = caller()
    const values = [
      ...types.map((type) => tokens.get(type, server, current)),
      ...secretNames.map((name) => secrets.get(name, server)),
      ...(hasAccounts ? [accountToken(app, current, accounts)] : []),
    ]
    return values.every((value) => typeof value === 'string')
      ? make(current.identity, values)
      : Promise.all(values.map(async (value) => await value)).then((fetched) => make(current.identity, fetched))
  }
  const refused = (headers: Headers): void => accounts?.refused(app, caller(), headers['authorization']?.slice('Bearer '.length) ?? '')
  return hasAccounts ? Object.assign(now, { refused }) : now
}

function accountToken(app: App, caller: Caller, accounts: AccountSource | undefined): string | Promise<string> {
  if (!accounts) throw new AppError('failed_precondition', `there are no accounts of users for MCP server "${app.metadata.name}"`)
  return accounts.get(app, caller)
}

/** What it takes; the first goes into the assertion's own header. */
function tokenTypes(app: App): IdentityTokenType[] {
  const asked = tokenTypesIn(app.spec.rewrite?.headers?.map(({ value }) => value) ?? [])
  return asked.includes('id_token') ? ['jwt', 'id_token'] : ['jwt']
}

function rewrittenHeaders(
  app: App,
  identity: Identity,
  tokens: ReadonlyMap<string, string>,
  secrets: ReadonlyMap<string, string>,
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const { name, value } of app.spec.rewrite?.headers ?? []) {
    const key = name.toLowerCase()
    if (RESERVED.has(key) || key.startsWith('mcp-param-'))
      throw new AppError('failed_precondition', `MCP server "${app.metadata.name}": header ${name} cannot be rewritten`)
    if (secretsIn(value).length > 0) {
      headers[key] = secretHeader(app, name, value, secrets)
      continue
    }
    const values = expandForCaller(value, identity, tokens)
    if (values.length === 0) continue
    // A value with a comma would read as two; one of them could be what the caller is not.
    if (values.some((each) => !/^[\t\x20-\x7e\x80-\xff]*$/.test(each) || (values.length > 1 && each.includes(','))))
      throw new AppError('failed_precondition', `a trait of "${identity.name}" cannot stand in the header ${name}`)
    headers[key] = values.join(', ')
  }
  return headers
}

/** Never sent with a part missing. A line break at the end is one of the file that the value came from. */
function secretHeader(app: App, name: string, template: string, secrets: ReadonlyMap<string, string>): string {
  const server = app.metadata.name
  const fault = findSecretFault(template)
  if (fault) throw new AppError('failed_precondition', `MCP server "${server}": header ${name}: ${fault}`)
  return fillSecrets(template, (secret) => {
    const value = (secrets.get(secret) ?? '').replace(/\r?\n$/, '')
    if (value === '' || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new AppError('failed_precondition', `MCP server "${server}": the secret "${secret}" cannot stand in the header ${name}`)
    return value
  })
}
