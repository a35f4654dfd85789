import { checkClaimMappings } from '../../../access/connector-roles.ts'
import { AppError } from '../../../lib/errors.ts'
import { callbackPath, CONNECTOR_KINDS } from '../../../resources/connector.ts'
import type { ConnectorKind } from '../../../resources/connector.ts'
import type { OidcConnector } from '../../../resources/oidc.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { originOf } from '../oauth/issuer.ts'
import type { Connector } from './connector-client.ts'

/** A way to sign in elsewhere, as people are offered it. */
export interface OfferedConnector {
  name: string
  type: ConnectorKind
  display: string
}

/** By which connectors people may sign in: the cluster's default first, then by name. */
export function listConnectors(context: Pick<AuthContext, 'live'>): Connector[] {
  const preferred = findDefaultConnector(context)
  const all = CONNECTOR_KINDS.flatMap((kind): Connector[] => context.live.list(kind)).filter(({ spec }) => spec.disabled !== true)
  const rank = (connector: Connector): string => `${connector === preferred ? 0 : 1}${displayOf(connector)}`
  return all.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))
}

export function offerOf(connector: Connector): OfferedConnector {
  return { name: connector.metadata.name, type: connector.kind, display: displayOf(connector) }
}

/** Undefined for one that there is not, or that is disabled. */
export function findConnector(context: Pick<AuthContext, 'live'>, name: string): Connector | undefined {
  const found = context.live.find('oidc', name) ?? context.live.find('github', name)
  return found?.spec.disabled === true ? undefined : found
}

/** Throws `not_found` naming those that there are. */
export function getConnector(context: Pick<AuthContext, 'live'>, name: string): Connector {
  const found = findConnector(context, name)
  if (found) return found
  const names = listConnectors(context).map(({ metadata }) => metadata.name)
  const offered = [...names, ...(allowsPasswords(context) ? ['local'] : [])].join(', ')
  throw new AppError(
    'not_found',
    `this cluster offers no sign-in by ${JSON.stringify(name)}${offered === '' ? '' : `: choose one of ${offered}`}`,
  )
}

/** The one that people sign in by unless they choose; undefined where that is a password. */
export function findDefaultConnector(context: Pick<AuthContext, 'live'>): Connector | undefined {
  const { type, connector_name } = authPreference(context).spec
  if (type !== 'oidc' && type !== 'github') return undefined
  const named = connector_name === undefined ? undefined : context.live.find(type, connector_name)
  const usable = context.live.list(type).filter(({ spec }) => spec.disabled !== true)
  return usable.find((connector) => connector === named) ?? (connector_name === undefined ? usable[0] : undefined)
}

/** As which tsh names a passkey alone, where it names a connector. */
export const PASSWORDLESS = 'passwordless'

/** Whether people usually sign in by a passkey alone. */
export function isPasswordlessFirst(context: Pick<AuthContext, 'live'>): boolean {
  const { type, connector_name } = authPreference(context).spec
  return type === 'local' && connector_name === PASSWORDLESS && allowsPasswords(context)
}

/** Whether people may sign in with a password, or with a passkey of this cluster. */
export function allowsPasswords(context: Pick<AuthContext, 'live'>): boolean {
  return authPreference(context).spec.allow_local_auth !== false
}

/** Where the identity provider sends the browser: of several addresses the one at which it is now. */
export function redirectUrlOf(context: Pick<AuthContext, 'publicAddress'>, { kind, spec }: Connector, host: string | undefined): URL {
  const urls = [spec.redirect_url ?? []].flat().map((text) => new URL(text))
  const here = urls.find((url) => url.host === URL.parse(`${url.protocol}//${host ?? ''}`)?.host)
  return here ?? urls[0] ?? new URL(callbackPath(kind), originOf(context.publicAddress()))
}

/** What a connector has to be before it is saved; throws `invalid_argument`, or `already_exists` for a name that one of another kind has. */
export function checkConnector(context: Pick<AuthContext, 'live'>, connector: Connector, existing: Connector | undefined): void {
  const { name } = connector.metadata
  if (['local', 'browser', 'passwordless', 'headless'].includes(name))
    throw new AppError('invalid_argument', `"${name}" is a way to sign in that tsh knows without a connector: choose another name`)
  const other = CONNECTOR_KINDS.find((kind) => kind !== connector.kind && context.live.find(kind, name))
  if (other !== undefined) throw new AppError('already_exists', `there is a connector "${name}" of kind ${other}: choose another name`)
  if (connector.kind === 'oidc') checkOidc(context, connector)
  // Else whoever may write but not read secrets would have the one there is sent to a place of their own.
  if (existing && connector.spec.client_secret === undefined && isElsewhere(connector, existing))
    throw new AppError('invalid_argument', 'spec.client_secret: give it again, the identity provider is another one now')
}

/** Of two that vouch for people of one issuer, nobody could say whose roles they get. */
function checkOidc({ live }: Pick<AuthContext, 'live'>, { metadata, spec }: OidcConnector): void {
  checkClaimMappings(spec.claims_to_roles)
  const others = live.list('oidc').filter((other) => other.metadata.name !== metadata.name)
  const same = others.find((other) => other.spec.accept_id_jag === true && other.spec.issuer_url === spec.issuer_url)
  if (spec.accept_id_jag === true && same)
    throw new AppError('already_exists', `spec.accept_id_jag: the connector "${same.metadata.name}" of this issuer has it already`)
}

/** Whether two connectors of one name lead to different identity providers. */
export function isElsewhere(one: Connector, other: Connector): boolean {
  return destinationOf(one) !== destinationOf(other)
}

function destinationOf({ kind, spec }: Connector): string {
  return JSON.stringify(kind === 'oidc' ? [spec.issuer_url] : [spec.endpoint_url, spec.api_endpoint_url])
}

function displayOf({ metadata, spec }: Connector): string {
  return spec.display ?? metadata.name
}
