import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import type { App } from '../../../resources/app.ts'
import { deleteUpstreamRecord, findUpstreamRecord, type UpstreamRecord } from '../../../storage/upstream-records.ts'
import type { AuthContext } from '../context.ts'
import { alone } from '../leases.ts'
import { issuerOf } from '../oauth/issuer.ts'
import { registrationId } from './clients.ts'
import type { AccountFetch } from './discovery.ts'
import { dropGrant, findGrant, type Grant, openGrant, withTokens } from './grants.ts'
import { keepTokens } from './keep-tokens.ts'
import { sealDocument } from './sealed-documents.ts'
import { askForTokens, GrantRefused } from './token-endpoint.ts'

/** One that ends so soon is renewed before it is used. */
const MARGIN_MS = 90_000
/** A server that refuses what was given a moment ago will not take the next one either. */
const SETTLE_MS = 10_000
/** Of tokens that do not say when they end. */
const UNSAID_MS = 10 * 60_000

export interface CurrentToken {
  /** Id of the account; when it is revoked the token is not to be used any more. */
  id: string
  token: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

/** Access tokens of users at MCP servers; renewed when they have to be, once for all who ask. */
export class CurrentTokens {
  readonly #context: AuthContext
  readonly #fetch: AccountFetch
  readonly #renewing = new Map<string, Promise<Grant>>()

  constructor(context: AuthContext, fetch: AccountFetch) {
    this.#context = context
    this.#fetch = fetch
  }

  /**
   * @param refused the token that the MCP server did not take.
   * @throws AppError failed_precondition with the detail `account_url` when the person has to sign in there, unavailable when that cannot be said now.
   */
  async get(account: string, app: App, refused: string | undefined): Promise<CurrentToken> {
    const now = this.#context.now()
    const found = await findGrant(this.#context, account, app)
    if (!found) throw missing(this.#context, app)
    const { record, grant } = found
    const isRefused = refused === grant.accessToken
    if (!isRefused && (grant.expiresAt ?? Infinity) - MARGIN_MS > now) return this.#render(record, grant)
    if (isRefused && now - (grant.renewedAt ?? 0) < SETTLE_MS)
      throw new AppError('unavailable', `MCP server "${app.metadata.name}" does not take the account of the user: try again in a moment`)
    try {
      return this.#render(record, await this.#renew(record, grant, app))
    } catch (thrown) {
      const isOver = isRefused || (grant.expiresAt ?? Infinity) <= now
      if (isOver || !(thrown instanceof AppError) || thrown.code !== 'unavailable') throw thrown
      // It is good for a moment yet.
      return this.#render(record, grant)
    }
  }

  #render({ id }: UpstreamRecord, { accessToken, expiresAt }: Grant): CurrentToken {
    const until = this.#context.now() + UNSAID_MS
    return { id, token: accessToken, expiresAt: Math.min(expiresAt ?? until, until) }
  }

  #renew(record: UpstreamRecord, grant: Grant, app: App): Promise<Grant> {
    const underWay = this.#renewing.get(record.id)
    if (underWay) return underWay
    // A refresh token that two processes use at once looks stolen to whoever issued it.
    const renewing = alone(
      this.#context,
      `upstream-account/${record.id}`,
      () => this.#findOther(record, app),
      () => this.#renewNow(record, grant, app),
    ).finally(() => this.#renewing.delete(record.id))
    this.#renewing.set(record.id, renewing)
    return renewing
  }

  /** What somebody else has made of it meanwhile. */
  async #findOther(record: UpstreamRecord, app: App): Promise<Grant | undefined> {
    const current = await findUpstreamRecord(this.#context.db, 'grant', record.id)
    if (!current) throw missing(this.#context, app)
    return current.document === record.document ? undefined : openGrant(this.#context, current)
  }

  async #renewNow(record: UpstreamRecord, grant: Grant, app: App): Promise<Grant> {
    const context = this.#context
    const { refreshToken, resource } = grant
    if (refreshToken === undefined) return await this.#end(record, app, 'its access token ended, and there is none to renew it')
    try {
      const parameters = { grant_type: 'refresh_token', refresh_token: refreshToken, resource }
      const renewed = withTokens(grant, await askForTokens(context, app, grant, parameters, this.#fetch))
      const next = { ...renewed, renewedAt: context.now() }
      if (await keepTokens(context.db, record, sealDocument(context, record, next))) return next
    } catch (thrown) {
      if (!(thrown instanceof GrantRefused)) throw thrown
      if (thrown.isClient) await deleteUpstreamRecord(context.db, 'client', registrationId(context, app, grant.issuer))
      return await this.#end(record, app, thrown.message)
    }
    return (await this.#findOther(record, app)) ?? grant
  }

  async #end(record: UpstreamRecord, app: App, reason: string): Promise<never> {
    const caller = { identity: undefined, remoteAddress: 'internal' }
    await dropGrant(this.#context, record.id, caller, reason).catch(unlessGone)
    const event = { remote_addr: 'internal', success: false, server: app.metadata.name, error: reason }
    await this.#context.journal.record([buildEvent('upstream_account.refresh', event, this.#context.build)])
    throw missing(this.#context, app)
  }
}

/** Where a person signs in to an MCP server. */
export function accountUrl(context: Pick<AuthContext, 'publicAddress'>, app: string): string {
  return `${issuerOf(context.publicAddress())}/web/accounts/${encodeURIComponent(app)}`
}

function missing(context: AuthContext, { metadata: { name } }: App): AppError {
  const url = accountUrl(context, name)
  return new AppError('failed_precondition', `MCP server "${name}" needs your own account there. Sign in at ${url} and try again.`, {
    details: { account_url: url },
  })
}

function unlessGone(thrown: unknown): void {
  if (!(thrown instanceof AppError && thrown.code === 'not_found')) throw thrown
}
