import type { Hono } from 'hono'
import type { Client, Interaction, InteractionResults, Provider } from 'oidc-provider'
import { buildEvent } from '../../../audit/build-event.ts'
import { renderDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import { isLoopbackHost } from '../../../lib/loopback.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import type { AppEnv } from '../authenticate.ts'
import type { AuthContext } from '../context.ts'
import { originOfClient } from '../oauth/clients.ts'
import { createGrant, grantFields, listReachable } from '../oauth/grants.ts'
import { grantSeconds } from '../oauth/grant-life.ts'
import { clientFields } from '../oauth/registration.ts'
import type { OAuthServer } from '../oauth/serve.ts'
import type { SignedIn } from '../sign-in.ts'
import { takeTicket } from '../sso/serve.ts'
import { renderConsent } from './consent.ts'
import { answerPage, checkFormToken, formToken, readForm, servePage } from './form.ts'
import type { PageContext } from './form.ts'
import { html } from './html.ts'
import { showSignIn, submitSignIn } from './signing-in.ts'
import type { SignInSurface } from './signing-in.ts'
import { leadToConnector } from './ways.ts'

/** A request for authorization that waits for a person. */
interface Waiting {
  provider: Provider
  interaction: Interaction
  client: Client
  /** Path of its page. */
  page: string
}

/** The pages on which a person signs in for an MCP client and says what it may do. */
export function addOAuthPages(app: Hono<AppEnv>, context: AuthContext, oauth: Pick<OAuthServer, 'provider'>): void {
  app.get(
    '/web/oauth/:uid',
    servePage(context, async (c) => show(context, c, await getWaiting(c, await oauth.provider()))),
  )
  app.get(
    '/web/oauth/:uid/sso',
    servePage(context, async (c) => lead(context, c, await getWaiting(c, await oauth.provider()))),
  )
  app.post(
    '/web/oauth/:uid',
    servePage(context, async (c) => submit(context, c, await getWaiting(c, await oauth.provider()))),
  )
}

/** Throws `not_found` unless this browser began it: the cookie says so, not the address. */
async function getWaiting(c: PageContext, provider: Provider): Promise<Waiting> {
  const { node } = c.env
  const gone = new AppError(
    'not_found',
    'this sign-in was used already, has expired, or was begun in another browser: start again in your MCP client',
  )
  if (!node) throw gone
  try {
    const interaction = await provider.interactionDetails(node.request, node.response)
    const client = await provider.Client.find(String(interaction.params['client_id']))
    if (!client || interaction.uid !== c.req.param('uid')) throw gone
    return { provider, interaction, client, page: `/web/oauth/${interaction.uid}` }
  } catch (thrown) {
    // The library's SessionNotFound; to import the class would load the library at the start.
    throw thrown instanceof Error && thrown.name === 'SessionNotFound' ? gone : thrown
  }
}

async function show(context: AuthContext, c: PageContext, waiting: Waiting): Promise<Response> {
  const { client, interaction } = waiting
  if (interaction.prompt.name === 'login') {
    const ticket = c.req.query('ticket')
    if (ticket === undefined) return showSignIn(context, c, surfaceOf(context, c, waiting), { status: 200 })
    return await goOn(c, waiting, await takeTicket(context, interaction.uid, ticket))
  }
  const user = await getUser(context, interaction)
  const scopes = requestedScopes(interaction)
  const { spec } = user
  const target = targetOf(interaction)
  const isLocal = target === undefined || target.host === '' || isLoopbackHost(target.hostname)
  const { endpoint, servers } = listReachable(context, user, String(interaction.params['resource']), scopes)
  const body = renderConsent({
    clusterName: context.clusterName,
    action: waiting.page,
    hidden: { form_token: formToken(context, flowOf(interaction)) },
    user: user.metadata.name,
    client: { id: client.clientId, name: client.clientName ?? client.clientId, origin: originOfClient(context, client.clientId) },
    endpoint,
    servers,
    target: describeTarget(target),
    isLocal,
    duration: describeDuration(grantSeconds(context, spec.roles)),
  })
  return answerPage(c, body, 200, formTarget(interaction))
}

function surfaceOf(context: AuthContext, c: PageContext, waiting: Waiting): SignInSurface {
  const { client, interaction, page } = waiting
  return {
    flow: flowOf(interaction),
    action: page,
    hidden: {},
    page,
    isMovable: false,
    lead: html`<p>
      <b>${client.clientName ?? client.clientId}</b> asks to use MCP servers as you. You see what it may do before you allow it.
    </p>`,
    closing: 'Next you are asked whether to allow it.',
    targets: formTarget(interaction),
    pageOfConnector: (connector) => `${page}/sso?${new URLSearchParams({ connector }).toString()}`,
    goOn: (signedIn) => goOn(c, waiting, signedIn),
  }
}

async function submit(context: AuthContext, c: PageContext, waiting: Waiting): Promise<Response> {
  const { interaction } = waiting
  const form = await readForm(c)
  if (interaction.prompt.name === 'login') return await submitSignIn(context, c, surfaceOf(context, c, waiting), form)
  checkFormToken(context, flowOf(interaction), form.get('form_token'))
  if (form.get('decision') === 'switch') return await switchUser(c, waiting)
  const result = form.get('decision') === 'allow' ? await allow(context, c, waiting) : await deny(context, c, waiting)
  return c.redirect(await finish(interaction, result), 303)
}

async function lead(context: AuthContext, c: PageContext, waiting: Waiting): Promise<Response> {
  const { interaction, page } = waiting
  if (interaction.prompt.name !== 'login') return c.redirect(page, 303)
  const way = { name: c.req.query('connector') ?? '', purpose: { type: 'oauth' as const, uid: interaction.uid } }
  return await leadToConnector(context, c, way, (fault) => showSignIn(context, c, surfaceOf(context, c, waiting), fault))
}

/** The request goes on for who has signed in. */
async function goOn(c: PageContext, { interaction, provider }: Waiting, { account, methods }: SignedIn): Promise<Response> {
  // Nobody goes on with the sign-in of somebody else.
  if (interaction.session && interaction.session.accountId !== account) await endSession(provider, interaction)
  const login = { accountId: account, amr: methods, remember: true }
  return c.redirect(await finish(interaction, { login }), 303)
}

async function allow(context: AuthContext, c: PageContext, { client, interaction }: Waiting): Promise<InteractionResults> {
  const user = await getUser(context, interaction)
  const account = interaction.session?.accountId ?? ''
  const grant = await createGrant(context, {
    client,
    account,
    user: user.metadata.name,
    roles: user.spec.roles,
    resource: String(interaction.params['resource']),
    scopes: requestedScopes(interaction),
    remoteAddress: c.env.peer.remoteAddress,
  })
  return { consent: { grantId: grant } }
}

async function deny(context: AuthContext, c: PageContext, { client, interaction }: Waiting): Promise<InteractionResults> {
  const user = await getUser(context, interaction)
  const fields = {
    ...clientFields(client.metadata()),
    ...grantFields(String(interaction.params['resource']), requestedScopes(interaction)),
  }
  const event = {
    user: user.metadata.name,
    remote_addr: c.env.peer.remoteAddress,
    success: false,
    error: 'refused by the person',
    ...fields,
  }
  await context.journal.record([buildEvent('oauth.grant.create', event, context.build)])
  return { error: 'access_denied', error_description: 'the person did not allow it' }
}

/** Begins the same request again, signed out. */
async function switchUser(c: PageContext, { interaction, provider }: Waiting): Promise<Response> {
  await endSession(provider, interaction)
  await interaction.destroy()
  const again = new URLSearchParams(
    Object.entries(interaction.params).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  )
  return c.redirect(`${provider.urlFor('authorization')}?${again.toString()}`, 303)
}

async function endSession(provider: Provider, interaction: Interaction): Promise<void> {
  const session = interaction.session && (await provider.Session.findByUid(interaction.session.uid))
  await session?.destroy()
  interaction.session = undefined
}

/** Leaves the answer for the request that waits; where the browser finds it. */
async function finish(interaction: Interaction, result: InteractionResults): Promise<string> {
  interaction.result = result.error === undefined ? { ...interaction.lastSubmission, ...result } : result
  await interaction.persist()
  return interaction.returnTo
}

async function getUser(context: AuthContext, interaction: Interaction) {
  const name = await findUserOfAccount(context.db, interaction.session?.accountId ?? '')
  const user = name === undefined ? undefined : context.live.find('user', name)
  if (!user) throw new AppError('not_found', 'your sign-in has ended: start again in your MCP client')
  return user
}

function requestedScopes({ params }: Interaction): string[] {
  const { scope } = params
  return typeof scope === 'string' ? scope.split(' ') : []
}

/** Where the browser goes afterwards; a device asks for itself. */
function targetOf({ params, deviceCode }: Interaction): URL | undefined {
  return deviceCode === undefined ? new URL(String(params['redirect_uri'])) : undefined
}

/** Whole days as people say them. */
function describeDuration(seconds: number): string {
  const days = seconds / 86_400
  return Number.isInteger(days) && days > 1 ? `${days} days` : renderDuration(seconds * 1000)
}

function describeTarget(target: URL | undefined): string {
  if (!target) return 'the device that shows the code'
  return target.host === '' ? `the application for ${target.protocol}` : target.host
}

/** As a source of a content security policy: browsers ask it about redirects of forms, too. */
function formTarget(interaction: Interaction): string {
  const target = targetOf(interaction)
  if (!target) return ''
  return target.protocol === 'http:' || target.protocol === 'https:' ? target.origin : target.protocol
}

function flowOf({ uid, prompt }: Interaction): string {
  return `oauth:${uid}:${prompt.name}`
}
