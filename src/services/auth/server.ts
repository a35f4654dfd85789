import { Hono } from 'hono'
import type { Context, Next } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { z } from 'zod'
import type { Route } from '../../api/route.ts'
import { ROUTES } from '../../api/routes.ts'
import { AppError, CODES, toAppError } from '../../lib/errors.ts'
import { storeFaultOf } from '../../storage/store-faults.ts'
import { authenticate } from './authenticate.ts'
import type { AppEnv } from './authenticate.ts'
import type { OAuthServer } from './oauth/serve.ts'
import { authorize, recordRefusal, refuseLocked } from './authorize.ts'
import { LOCAL_ADMINISTRATOR } from './context.ts'
import type { AuthContext, Caller, KnownCaller } from './context.ts'
import { addAccountPage } from './pages/account.ts'
import { addOAuthPages } from './pages/oauth.ts'
import { addPasskeyChallenge } from './pages/passkeys.ts'
import { servePage } from './pages/form.ts'
import { STYLE_PATH } from './pages/layout.ts'
import { addPages } from './pages/routes.ts'
import { addSsoPages } from './pages/sso.ts'
import { addUpstreamAccountPages } from './pages/upstream-accounts.ts'
import { announceServers } from './routes/app-servers.ts'
import { createApiToken, deleteApiToken, listApiTokens } from './routes/api-tokens.ts'
import { issueEndpointToken } from './routes/endpoint-tokens.ts'
import { issueIdentityToken, rotateJwtKey } from './routes/identity-tokens.ts'
import { issueRouteAssertion } from './routes/assertions.ts'
import { emitEvents, searchEvents } from './routes/audit.ts'
import { finishBrowserLogin, startBrowserLogin } from './routes/browser-login.ts'
import { getJwks, getStatus, ping } from './routes/cluster.ts'
import { announceBot, reportDestination } from './routes/bots.ts'
import { announceDatabases, listVisibleDatabases, signDatabaseServer, signDatabaseUser } from './routes/databases.ts'
import { announceHost, announceTunnels, issueBotOutput, join, renewIdentity, startJoin } from './routes/join.ts'
import { loginLocal, signCertificate, whoami } from './routes/login.ts'
import { assignMcpNames, findMcpName } from './routes/mcp-names.ts'
import { findMcpSession, keepMcpSession, takeMcpSession } from './routes/mcp-sessions.ts'
import { addMfaApp, listMfaDevices, offerMfaApp, removeMfaDevice } from './routes/mfa.ts'
import { deleteOAuthGrant, listOAuthGrants } from './routes/oauth-grants.ts'
import { createResource, deleteResource, getResource, listResources, upsertResource } from './routes/resources.ts'
import { readSecret } from './routes/secrets.ts'
import { explainAccess, listVisibleServers } from './routes/servers.ts'
import { getSsoTest, startSsoTest } from './routes/sso.ts'
import { deleteUpstreamAccount, issueUpstreamToken, listUpstreamAccounts } from './routes/upstream-accounts.ts'
import { watchResources } from './routes/watch.ts'
import { getSpiffeBundle, getSvidIssuer, getSvidJwks, issueSvid } from './routes/workload-identity.ts'
import { acceptInvite, inviteUser, resetUser, showInvite } from './routes/users.ts'
import { requireSource } from './refused-requests.ts'
import type { AccountFetch } from './upstream-accounts/discovery.ts'

const MAX_BODY_BYTES = 1024 * 1024
/** A batch of events of an agent's spool. */
const MAX_EVENTS_BYTES = 16 * 1024 * 1024

const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

/** The control plane: every row of the contract with the function that serves it. */
const TABLE: readonly Served[] = [
  open(ROUTES.ping, ping),
  known(ROUTES.getStatus, getStatus),
  open(ROUTES.getJwks, getJwks),
  open(ROUTES.loginLocal, loginLocal),
  open(ROUTES.startBrowserLogin, startBrowserLogin),
  open(ROUTES.finishBrowserLogin, finishBrowserLogin),
  known(ROUTES.whoami, whoami),
  known(ROUTES.issueRouteAssertion, issueRouteAssertion),
  known(ROUTES.issueEndpointToken, issueEndpointToken),
  known(ROUTES.issueIdentityToken, issueIdentityToken),
  known(ROUTES.rotateJwtKey, rotateJwtKey),
  known(ROUTES.readSecret, readSecret),
  known(ROUTES.signCertificate, signCertificate),
  open(ROUTES.startJoin, startJoin),
  open(ROUTES.join, join),
  known(ROUTES.renewIdentity, renewIdentity),
  known(ROUTES.issueBotOutput, issueBotOutput),
  known(ROUTES.issueSvid, issueSvid),
  open(ROUTES.getSpiffeBundle, getSpiffeBundle),
  open(ROUTES.getSvidJwks, getSvidJwks),
  open(ROUTES.getSvidIssuer, getSvidIssuer),
  known(ROUTES.announceBot, announceBot),
  known(ROUTES.reportDestination, reportDestination),
  known(ROUTES.announceHost, announceHost),
  known(ROUTES.announceTunnels, announceTunnels),
  known(ROUTES.inviteUser, inviteUser),
  known(ROUTES.resetUser, resetUser),
  open(ROUTES.showInvite, showInvite),
  open(ROUTES.acceptInvite, acceptInvite),
  known(ROUTES.listMfaDevices, listMfaDevices),
  known(ROUTES.offerMfaApp, offerMfaApp),
  known(ROUTES.addMfaApp, addMfaApp),
  known(ROUTES.removeMfaDevice, removeMfaDevice),
  known(ROUTES.createApiToken, createApiToken),
  known(ROUTES.listApiTokens, listApiTokens),
  known(ROUTES.deleteApiToken, deleteApiToken),
  known(ROUTES.listOAuthGrants, listOAuthGrants),
  known(ROUTES.deleteOAuthGrant, deleteOAuthGrant),
  known(ROUTES.issueUpstreamToken, issueUpstreamToken),
  known(ROUTES.listUpstreamAccounts, listUpstreamAccounts),
  known(ROUTES.deleteUpstreamAccount, deleteUpstreamAccount),
  known(ROUTES.listResources, listResources),
  known(ROUTES.getResource, getResource),
  known(ROUTES.createResource, createResource),
  known(ROUTES.upsertResource, upsertResource),
  known(ROUTES.deleteResource, deleteResource),
  known(ROUTES.startSsoTest, startSsoTest),
  known(ROUTES.getSsoTest, getSsoTest),
  lines(ROUTES.watchResources, watchResources),
  known(ROUTES.listVisibleServers, listVisibleServers),
  known(ROUTES.announceServers, announceServers),
  known(ROUTES.listVisibleDatabases, listVisibleDatabases),
  known(ROUTES.announceDatabases, announceDatabases),
  known(ROUTES.signDatabaseUser, signDatabaseUser),
  known(ROUTES.signDatabaseServer, signDatabaseServer),
  known(ROUTES.explainAccess, explainAccess),
  known(ROUTES.assignMcpNames, assignMcpNames),
  known(ROUTES.findMcpName, findMcpName),
  known(ROUTES.keepMcpSession, keepMcpSession),
  known(ROUTES.findMcpSession, findMcpSession),
  known(ROUTES.takeMcpSession, takeMcpSession),
  known(ROUTES.searchEvents, searchEvents),
  known(ROUTES.emitEvents, emitEvents, MAX_EVENTS_BYTES),
]

/** The HTTP application: API and pages. Whoever calls `fetch` says in the binding `peer` who is at the other end of the connection. */
export function createServer(context: AuthContext, oauth: Pick<OAuthServer, 'provider'>, accountFetch: AccountFetch): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.onError((thrown, c) => renderError(context, c, thrown))
  app.notFound((c) => renderError(context, c, new AppError('not_found', `there is no ${c.req.method} ${c.req.path} here`)))
  app.use(async (c, next) => {
    const { internal, remoteAddress } = c.env.peer
    const source = { host: c.req.header('host'), origin: c.req.header('origin') }
    if (!internal) await requireSource(context, { method: c.req.method, path: c.req.path, remoteAddress }, source)
    // Before memory is brought up to date: what is said here of a caller rests on nothing older than that.
    c.set('asOf', context.now())
    const refusal = await catchUp(context, c)
    if (refusal) c.res = refusal
    else await next()
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) if (!c.res.headers.has(name)) c.res.headers.set(name, value)
  })
  const limited = (maxSize: number) => async (c: Context<AppEnv>, next: Next) => {
    checkLength(c, maxSize)
    await next()
  }
  for (const { row, maxBodyBytes, serve } of TABLE)
    app.on(row.method, row.path, limited(maxBodyBytes), async (c) => {
      const answer = await serve(context, c)
      return answer instanceof Response ? answer : c.json(answer)
    })
  app.use('/web/*', limited(MAX_BODY_BYTES))
  addPages(app, context)
  addOAuthPages(app, context, oauth)
  addAccountPage(app, context, oauth)
  addSsoPages(app, context, oauth)
  addPasskeyChallenge(app, context, oauth)
  addUpstreamAccountPages(app, context, oauth, accountFetch)
  return app
}

/** What is answered while the store is away: a person gets a page, which needs its style all the same. */
async function catchUp(context: AuthContext, c: Context<AppEnv>): Promise<Response | undefined> {
  if (c.req.path === STYLE_PATH) return undefined
  try {
    await context.changes.catchUp()
    return undefined
  } catch (thrown) {
    const isPage = c.req.path.startsWith('/web/')
    const fail = async (): Promise<never> => {
      throw thrown
    }
    return isPage ? await servePage(context, fail)(c) : renderError(context, c, thrown)
  }
}

/** The length is told before the body, so that none is read that is too large; node:http keeps the sender to what it told. */
function checkLength(c: Context<AppEnv>, maxSize: number): void {
  if (c.req.header('transfer-encoding') !== undefined) throw new AppError('invalid_argument', 'send the body with Content-Length')
  if (Number(c.req.header('content-length') ?? 0) > maxSize)
    throw new AppError('invalid_argument', `the body is larger than ${maxSize} bytes`)
}

interface Served {
  row: Route
  maxBodyBytes: number
  serve(context: AuthContext, c: Context<AppEnv>): Promise<object>
}

/** A row that anybody may call. */
function open<I extends z.ZodType, O extends z.ZodType<object>>(
  row: Route<I, O>,
  serve: (context: AuthContext, input: z.output<I>, caller: Caller) => Promise<z.output<O>>,
): Served {
  return {
    row,
    maxBodyBytes: MAX_BODY_BYTES,
    async serve(context, c) {
      const { peer } = c.env
      if (!peer.internal) await context.limits.countPublicCall(peer.remoteAddress)
      return await serve(context, await parseInput(row, c), { identity: undefined, remoteAddress: peer.remoteAddress })
    },
  }
}

/** A row that needs an identity: authenticate → lock check → authorise → serve. */
function known<I extends z.ZodType, O extends z.ZodType<object>>(
  row: Route<I, O>,
  serve: (context: AuthContext, input: z.output<I>, caller: KnownCaller) => Promise<z.output<O>>,
  maxBodyBytes: number = MAX_BODY_BYTES,
): Served {
  return {
    row,
    maxBodyBytes,
    async serve(context, c) {
      const { caller, input } = await admit(context, row, c)
      try {
        return await serve(context, input, caller)
      } catch (thrown) {
        await recordRefusal(context, caller, row.name, thrown)
        throw thrown
      }
    },
  }
}

/** The same for a row whose answer is a stream of lines. */
function lines<I extends z.ZodType, O extends z.ZodType<object>>(
  row: Route<I, O>,
  serve: (context: AuthContext, input: z.output<I>, caller: KnownCaller) => Promise<ReadableStream<Uint8Array>>,
): Served {
  const stream = async (context: AuthContext, input: z.output<I>, caller: KnownCaller): Promise<Response> =>
    new Response(await serve(context, input, caller), { headers: { 'content-type': 'application/x-ndjson' } })
  return known<I, z.ZodType<object>>(row, stream)
}

async function admit<I extends z.ZodType>(context: AuthContext, row: Route<I>, c: Context<AppEnv>) {
  const { peer } = c.env
  const identity = await authenticate(context, peer, row, (name) => c.req.header(name))
  const caller = { identity, remoteAddress: peer.remoteAddress, certificate: peer.certificate, asOf: c.get('asOf') }
  await refuseLocked(context, caller, row.name)
  const { access } = row
  if (typeof access === 'object' && 'kind' in access) await authorize(context, caller, access.kind, access.verb)
  // A row with `byKind` authorises in its function: conditions of rules look at the resource itself.
  return { caller, input: await parseInput(row, c) }
}

async function parseInput<I extends z.ZodType>(row: Route<I>, c: Context<AppEnv>): Promise<z.output<I>> {
  const rest = row.method === 'GET' || row.method === 'DELETE' ? parseQuery(c) : await parseBody(c)
  const parsed = row.input.safeParse({ ...rest, ...c.req.param() })
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.map((issue) => [issue.path.join('.'), issue.message].filter(Boolean).join(': '))
  throw new AppError('invalid_argument', faults.join('\n'), { details: { faults } })
}

/** A member given twice stays a list, which no schema of a query accepts. */
function parseQuery(c: Context<AppEnv>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(c.req.queries()).map(([name, values]) => [name, values.length === 1 ? values[0] : values]))
}

async function parseBody(c: Context<AppEnv>): Promise<Record<string, unknown>> {
  // A page of another site cannot send this type without asking first, and we never say yes.
  if (!/^application\/json(?:$|[ ;])/i.test(c.req.header('content-type') ?? ''))
    throw new AppError('invalid_argument', 'send JSON with content-type: application/json')
  const text = await c.req.text()
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_argument', 'the body is not JSON', { cause })
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new AppError('invalid_argument', 'the body must be a JSON object')
  return { ...body }
}

function renderError(context: AuthContext, c: Context<AppEnv>, thrown: unknown): Response {
  const isOperator = c.env.peer.identity?.name === LOCAL_ADMINISTRATOR
  const error = isOperator ? storeFaultOf(toAppError(thrown)) : toAppError(thrown)
  const { http, log } = CODES[error.code]
  const facts = { code: error.code, method: c.req.method, remote_addr: c.env.peer.remoteAddress, ...error.details }
  if (error.code === 'internal') context.log.error(error.message, { ...facts, cause: error.cause })
  else context.log[log === 'error' ? 'error' : 'debug'](error.message, facts)
  if (http === 401) c.header('www-authenticate', 'Bearer')
  return c.json({ error: { code: error.code, message: error.message, ...(error.details && { details: error.details }) } }, statusOf(http))
}

/** 499 is not in Hono's list of statuses. */
function statusOf(http: number): ContentfulStatusCode {
  return http as ContentfulStatusCode // every status of CODES allows a body
}
