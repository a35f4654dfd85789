import type { KoaContextWithOIDC, Provider } from 'oidc-provider'
import { buildEvent } from '../../../audit/build-event.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import type { AuthContext } from '../context.ts'
import { TWICE } from './records.ts'
import { clientFields } from './registration.ts'

/** Writes down what the library did for each request, before its answer leaves. */
export function addTrail(context: AuthContext, provider: Provider): void {
  const refusals = new WeakMap<object, Refusal>()
  provider.on('authorization.error', (ctx, { error, error_description }) => void refusals.set(ctx, { error, error_description }))
  const revoked = new WeakMap<object, string>()
  provider.on('grant.revoked', (ctx, grantId) => void revoked.set(ctx, grantId))
  provider.use(async (ctx: KoaContextWithOIDC, next: () => Promise<void>) => {
    await next()
    // Set by the library once it knows a route; a path without one has none.
    const { oidc } = ctx as { oidc?: KoaContextWithOIDC['oidc'] }
    if (!oidc) return
    const refusal = refusals.get(ctx)
    if (refusal) await recordRefusal(context, ctx, refusal)
    else if (oidc.route === 'token') await recordToken(context, ctx)
    const grantId = revoked.get(ctx)
    if (grantId !== undefined) await recordRevocation(context, ctx, grantId)
  })
}

/** No refusals, whatever they are called. */
const STEPS: ReadonlySet<unknown> = new Set(['authorization_pending', 'slow_down', 'use_dpop_nonce'])

interface Refusal {
  error: string
  error_description?: string | undefined
}

/** That the person said no is told of by the page. */
async function recordRefusal(context: AuthContext, ctx: KoaContextWithOIDC, refusal: Refusal): Promise<void> {
  if (refusal.error === 'access_denied') return
  const asked: Record<string, unknown> = ctx.oidc.params ?? ctx.query
  const told = (name: string): string | undefined => (typeof asked[name] === 'string' ? asked[name].slice(0, 500) : undefined)
  const [clientId, redirectUri, resource] = [told('client_id'), told('redirect_uri'), told('resource')]
  const event = {
    ...(clientId !== undefined && { client_id: clientId }),
    ...(resource !== undefined && { resource }),
    ...commonFields(ctx),
    // The one that was asked for, in place of those that the client has registered.
    ...(redirectUri !== undefined && { redirect_uris: [redirectUri] }),
    success: false,
    error: describe(refusal),
  }
  await context.journal.record([buildEvent('oauth.authorize.failure', event, context.build)])
}

async function recordToken(context: AuthContext, ctx: KoaContextWithOIDC): Promise<void> {
  const { entities, params } = ctx.oidc
  const body: unknown = ctx.body
  const failed = typeof body === 'object' && body !== null && 'error' in body ? body : undefined
  const grantType = params?.['grant_type']
  // Devices ask until the person has answered; who is sent back for a nonce comes again.
  if (failed && STEPS.has(failed.error)) return
  const account = (entities.AccessToken ?? entities.AuthorizationCode ?? entities.RefreshToken)?.accountId
  const user = account === undefined ? undefined : await findUserOfAccount(context.db, account)
  const grant = (entities.AccessToken ?? entities.AuthorizationCode ?? entities.RefreshToken)?.grantId
  const scope = entities.AccessToken?.scope
  const audience = entities.AccessToken?.aud
  const event = {
    ...commonFields(ctx),
    success: !failed,
    ...(user !== undefined && { user }),
    ...(grant !== undefined && { grant_id: grant }),
    ...(typeof grantType === 'string' && { grant_type: grantType.slice(0, 100) }),
    ...(!failed && scope !== undefined && { scope }),
    ...(!failed && typeof audience === 'string' && { resource: audience }),
    ...(failed && { error: describe(failed) }),
  }
  await context.journal.record([buildEvent('oauth.token.issue', event, context.build)])
}

/** By the client itself, or by the library because something was used twice. */
async function recordRevocation(context: AuthContext, ctx: KoaContextWithOIDC, grantId: string): Promise<void> {
  const { RefreshToken, AccessToken, AuthorizationCode, Account } = ctx.oidc.entities
  const account = (RefreshToken ?? AccessToken ?? AuthorizationCode)?.accountId ?? Account?.accountId
  const user = account === undefined ? undefined : await findUserOfAccount(context.db, account)
  const reason = ctx.oidc.route === 'revocation' ? 'by the client' : TWICE
  const event = { ...commonFields(ctx), success: true, ...(user !== undefined && { user }), grant_id: grantId, reason }
  await context.journal.record([buildEvent('oauth.grant.revoke', event, context.build)])
}

function commonFields(ctx: KoaContextWithOIDC) {
  const { Client } = ctx.oidc.entities
  return { remote_addr: ctx.ip, ...(Client && clientFields(Client.metadata())) }
}

function describe(failed: object): string {
  const { error, error_description } = { error: undefined, error_description: undefined, ...failed }
  return [error, error_description].filter((part) => typeof part === 'string').join(': ')
}
