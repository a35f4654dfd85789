import { createHash } from 'node:crypto'
import { z } from 'zod'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError, CODES } from '../../../lib/errors.ts'
import type { ConnectorKind } from '../../../resources/connector.ts'
import { consumeLoginFlow, createLoginFlow } from '../../../storage/login-flows.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { provenFlow } from '../limits.ts'
import { readCookie, setCookie } from '../pages/cookies.ts'
import { answerPage } from '../pages/form.ts'
import type { PageContext } from '../pages/form.ts'
import { renderNotice } from '../pages/layout.ts'
import { openSecret } from '../resource-secrets.ts'
import type { SignedIn } from '../sign-in.ts'
import { findConnector, getConnector, redirectUrlOf } from './connectors.ts'
import type { Connector } from './connector-client.ts'
import { beginFlow, endFlow, FLOW_SECONDS, flowCookiesIn } from './flow.ts'
import type { FlowSecrets, Purpose, SsoFlow } from './flow.ts'
import type { Identified } from './identified.ts'
import { savePerson } from './person.ts'
import { findTried, finishTrial, finishTrialBadly } from './trial.ts'

const MAX_COOKIES = 8
const TICKET_MS = 60_000

/** A connector that works, and its secret. */
interface Usable {
  connector: Connector
  secret: string | undefined
}

/** Sends the browser to the identity provider of a connector. Throws, with an event, what keeps it from there. */
export async function startSso(context: AuthContext, c: PageContext, name: string, purpose: Purpose): Promise<Response> {
  const told = { purpose, connector: name, remoteAddress: c.env.peer.remoteAddress }
  return await recorded(context, told, async () => {
    const usable = await getUsable(context, name, purpose)
    const { connector } = usable
    const client = await context.connectorClients(connector, usable.secret)
    const redirect_uri = redirectUrlOf(context, connector, c.req.header('host')).href
    const revision = connector.metadata.revision ?? ''
    const flow = { connector: connector.metadata.name, revision, redirect_uri, purpose }
    const secrets = await beginFlow(context, flow, told.remoteAddress)
    const url = await client.authorizeUrl({ ...secrets, redirectUri: redirect_uri })
    keepCookie(c, secrets, redirect_uri)
    return c.redirect(url.href, 303)
  })
}

/** What happens once somebody has signed in, by purpose; a test ends here. */
export type Continue = (c: PageContext, signedIn: SignedIn, purpose: Exclude<Purpose, { type: 'test' }>) => Promise<Response>

/** Serves the browser that comes back from an identity provider. What is refused is a page, and one event. */
export async function finishSso(context: AuthContext, c: PageContext, kind: ConnectorKind, goOn: Continue): Promise<Response> {
  let purpose: Purpose | undefined
  try {
    const remoteAddress = c.env.peer.remoteAddress
    const { flow, secrets } = await recorded(context, { connector: undefined, kind, remoteAddress }, async () => await takeFlow(context, c))
    purpose = flow.purpose
    const told = { connector: flow.connector, kind, remoteAddress, purpose }
    return await recorded(context, told, async () => {
      const { connector, secret } = await getUsable(context, flow.connector, flow.purpose)
      if (connector.kind !== kind || (connector.metadata.revision ?? '') !== flow.revision)
        throw new AppError(
          'aborted',
          `the connector "${flow.connector}" was changed meanwhile, or is not the one you were sent to: start again`,
        )
      const client = await context.connectorClients(connector, secret)
      const person = await client.identify({ ...secrets, redirectUri: flow.redirect_uri, url: returnedUrl(c, flow) })
      if (flow.purpose.type === 'test') return await endTrial(context, c, connector, person, flow.purpose.id)
      const signedIn = await admit(context, connector, person, remoteAddress)
      return await goOn(c, signedIn, flow.purpose)
    })
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const next = purpose && nextOf(purpose)
    return answerPage(c, renderNotice('You are not signed in', context.clusterName, thrown.message, next), CODES[thrown.code].http)
  }
}

const ticketSchema = z.object({
  uid: z.string(),
  user: z.string(),
  account: z.string(),
  mfaVerified: z.boolean(),
  methods: z.array(z.string()),
})

/** Something that stands for who signed in, good once and for one request of an MCP client: its page alone sees the cookie of that request. */
export async function issueTicket(context: AuthContext, uid: string, signedIn: SignedIn): Promise<string> {
  const ticket = Buffer.from(context.random(32)).toString('base64url')
  const now = context.now()
  const flow = { id: ticketKey(ticket), ...provenFlow(signedIn.user), document: { ...signedIn, uid }, expires_at: now + TICKET_MS }
  await createLoginFlow(context.db, flow, now)
  return ticket
}

/** Throws `not_found`. */
export async function takeTicket(context: AuthContext, uid: string, ticket: string): Promise<SignedIn> {
  const document = ticketSchema.safeParse(await consumeLoginFlow(context.db, ticketKey(ticket), context.now()))
  if (!document.success || document.data.uid !== uid)
    throw new AppError('not_found', 'this sign-in was used already or has expired: start again')
  return document.data
}

async function admit(context: AuthContext, connector: Connector, person: Identified, remoteAddress: string): Promise<SignedIn> {
  const mfaVerified = person.mfaVerified && secondFactorsOf(authPreference(context).spec).sso
  const { user, account } = await savePerson(context, connector, person, remoteAddress)
  const event = {
    user,
    remote_addr: remoteAddress,
    method: connector.kind,
    connector: connector.metadata.name,
    success: true,
    with_mfa: mfaVerified ? 'idp' : 'none',
  }
  await context.journal.record([buildEvent('user.login', event, context.build)])
  return { user, account, mfaVerified, methods: mfaVerified ? ['mfa'] : [] }
}

async function endTrial(context: AuthContext, c: PageContext, connector: Connector, person: Identified, id: string): Promise<Response> {
  const summary = await finishTrial(context, connector, person, id, c.env.peer.remoteAddress)
  return answerPage(c, renderNotice('The connector was tried out', context.clusterName, summary), 200)
}

async function getUsable(context: AuthContext, name: string, purpose: Purpose): Promise<Usable> {
  if (purpose.type === 'test') return await findTried(context, purpose.id)
  const connector = getConnector(context, name)
  return { connector, secret: await openSecret(context, connector, 'client_secret') }
}

async function takeFlow(context: AuthContext, c: PageContext): Promise<{ flow: SsoFlow; secrets: FlowSecrets }> {
  const states = c.req.queries('state') ?? []
  const [state = ''] = states
  if (states.length !== 1 || state.length > 200)
    throw new AppError('invalid_argument', 'this is not the answer of an identity provider to a sign-in that was begun here: start again')
  const taken = await endFlow(context, state, (name) => readCookie(c, name))
  setCookie(c, { name: taken.secrets.cookie.name, value: '', seconds: 0, secure: isSecure(taken.flow.redirect_uri) })
  return taken
}

/** As the provider was told to send it, whatever address a proxy before us made of it. */
function returnedUrl(c: PageContext, { redirect_uri }: SsoFlow): URL {
  const url = new URL(redirect_uri)
  url.search = new URL(c.req.url).search
  return url
}

interface Told {
  connector: string | undefined
  kind?: ConnectorKind
  remoteAddress: string
  purpose?: Purpose
}

/** Writes down what is refused. */
async function recorded<T>(context: AuthContext, { connector, kind, remoteAddress, purpose }: Told, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const method = kind ?? (connector === undefined ? undefined : findConnector(context, connector)?.kind)
    const event = {
      remote_addr: remoteAddress,
      success: false,
      error: thrown.message,
      ...(connector && { connector: connector.slice(0, 255) }),
    }
    if (purpose?.type === 'test') {
      await finishTrialBadly(context, purpose.id, thrown)
      await context.journal.record([buildEvent('sso.test', event, context.build)])
    } else await context.journal.record([buildEvent('user.login', { ...event, ...(method && { method }) }, context.build)])
    throw thrown
  }
}

function nextOf(purpose: Purpose): { href: string; words: string } | undefined {
  const words = 'Back to the sign-in page'
  switch (purpose.type) {
    case 'login':
      return { href: `/web/login?id=${encodeURIComponent(purpose.id)}&choose=1`, words }
    case 'oauth':
      return { href: `/web/oauth/${encodeURIComponent(purpose.uid)}`, words }
    case 'account':
      return { href: '/web/account', words }
    case 'test':
      return undefined
  }
}

function keepCookie(c: PageContext, { cookie }: FlowSecrets, redirectUri: string): void {
  const secure = isSecure(redirectUri)
  const collected = flowCookiesIn(c.req.header('cookie') ?? '')
  // Sign-ins that were begun and left: their cookies would be sent with every request for a while.
  if (collected.length >= MAX_COOKIES) for (const name of collected) setCookie(c, { name, value: '', seconds: 0, secure })
  setCookie(c, { ...cookie, seconds: FLOW_SECONDS, secure })
}

function isSecure(redirectUri: string): boolean {
  return redirectUri.startsWith('https:')
}

function ticketKey(ticket: string): string {
  return `sso-ticket:${createHash('sha256').update(ticket).digest('hex')}`
}
