import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import { consumeLoginFlow, createLoginFlow, findLoginFlow } from '../../../storage/login-flows.ts'
import type { AuthContext } from '../context.ts'
import { networkOf } from '../limits.ts'

/** What a person signs in for. */
const purposeSchema = z.discriminatedUnion('type', [
  /** A waiting `tsh login`, by the id of its sign-in. */
  z.object({ type: z.literal('login'), id: z.string() }),
  /** A request of an MCP client for authorization. */
  z.object({ type: z.literal('oauth'), uid: z.string() }),
  /** The page of one's own clients, or where the person wanted to go. */
  z.object({ type: z.literal('account'), next: z.string().optional() }),
  /** `tctl sso test`, by the id of the test. */
  z.object({ type: z.literal('test'), id: z.string() }),
])
export type Purpose = z.infer<typeof purposeSchema>

const flowSchema = z.object({
  connector: z.string(),
  /** Of the connector as it was at the beginning. */
  revision: z.string(),
  redirect_uri: z.string(),
  /** Of the cookie of the browser that began it. */
  browser: z.string(),
  purpose: purposeSchema,
})
export type SsoFlow = z.infer<typeof flowSchema>

type FlowContext = Pick<AuthContext, 'db' | 'now' | 'random'>

/** What only the browser and we know of a flow; from it follows what the provider has to repeat. */
export interface FlowSecrets {
  state: string
  nonce: string
  verifier: string
  cookie: { name: string; value: string }
}

export const FLOW_SECONDS = 10 * 60
const COOKIE = 'sallyport-sso-'

/**
 * Begins a sign-in elsewhere that this browser alone can end: nonce and PKCE verifier follow from its cookie, and the store has neither.
 * Throws `resource_exhausted` when too many from this address are under way.
 */
export async function beginFlow(context: FlowContext, flow: Omit<SsoFlow, 'browser'>, remoteAddress: string): Promise<FlowSecrets> {
  const state = secret(context)
  const value = secret(context)
  const now = context.now()
  const document = { ...flow, browser: hashOf(value) }
  const address = networkOf(remoteAddress)
  await createLoginFlow(context.db, { id: flowKey(state), address, document, expires_at: now + FLOW_SECONDS * 1000 }, now)
  return secretsOf(state, cookieName(state, flow.redirect_uri), value)
}

/**
 * Ends the flow that a browser came back for. Exactly one caller gets it. Throws `not_found` for a state that is unknown, used or expired, and
 * `permission_denied` for another browser, whose flow stays as it is.
 */
export async function endFlow(
  context: FlowContext,
  state: string,
  cookieOf: (name: string) => string | undefined,
): Promise<{ flow: SsoFlow; secrets: FlowSecrets }> {
  const found = await findLoginFlow(context.db, flowKey(state), context.now())
  if (found === undefined) throw gone()
  const { browser, redirect_uri } = flowSchema.parse(found)
  const name = cookieName(state, redirect_uri)
  const value = cookieOf(name) ?? ''
  if (!timingSafeEqual(Buffer.from(hashOf(value)), Buffer.from(browser)))
    throw new AppError(
      'permission_denied',
      `this sign-in was begun in another browser, or at another address than ${new URL(redirect_uri).origin}: start again, in one browser`,
    )
  const taken = await consumeLoginFlow(context.db, flowKey(state), context.now())
  if (taken === undefined) throw gone()
  return { flow: flowSchema.parse(taken), secrets: secretsOf(state, name, value) }
}

/** Cookies of other flows that a browser has collected. */
export function flowCookiesIn(header: string): string[] {
  return [...header.matchAll(/(?:^|;\s*)((?:__Host-)?sallyport-sso-[\w-]+)=/g)].map(([, name = '']) => name)
}

/** On https no other host of the domain can plant one with this prefix (RFC 6265bis section 4.1.3.2). */
function cookieName(state: string, redirectUri: string): string {
  return `${redirectUri.startsWith('https:') ? '__Host-' : ''}${COOKIE}${hashOf(state).slice(0, 16)}`
}

function secretsOf(state: string, name: string, value: string): FlowSecrets {
  const derive = (what: string): string => createHmac('sha256', value).update(what).digest('base64url')
  return { state, nonce: derive('nonce'), verifier: derive('verifier'), cookie: { name, value } }
}

function gone(): AppError {
  return new AppError('not_found', 'this sign-in was used already or has expired: start again')
}

function secret(context: FlowContext): string {
  return Buffer.from(context.random(32)).toString('base64url')
}

function flowKey(state: string): string {
  return `sso:${hashOf(state)}`
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
