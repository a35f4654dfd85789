import { createHash, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import type { IssuedIdentity } from '../../../api/identity.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { parsePublicKey } from '../../../ca/keys.ts'
import { AppError } from '../../../lib/errors.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { consumeLoginFlow, createLoginFlow, findLoginFlow } from '../../../storage/login-flows.ts'
import { authPreference } from '../context.ts'
import type { AuthContext, Caller } from '../context.ts'
import { issueForUser, parseProvenKey, recordIssue } from '../issue.ts'
import { networkOf, provenFlow } from '../limits.ts'
import type { SignedIn } from '../sign-in.ts'
import { allowsPasswords, getConnector, PASSWORDLESS } from '../sso/connectors.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

const FLOW_MS = 5 * 60_000
const CODE_MS = 60_000

const flowSchema = z.object({
  public_key: z.string(),
  ttl: z.number().optional(),
  user: z.string().optional(),
  redirect_uri: z.string(),
  code_challenge: z.string(),
  /** By which the person wants to sign in, without being asked. */
  connector: z.string().optional(),
})
export type LoginFlow = z.infer<typeof flowSchema>

/** What the code stands for once somebody has signed in. */
const grantSchema = flowSchema.extend({ login_id: z.string(), user: z.string(), mfa: z.boolean(), account: z.string() })

export async function startBrowserLogin(
  context: AuthContext,
  input: Input<'startBrowserLogin'>,
  { remoteAddress }: Caller,
): Promise<OutputOf<typeof ROUTES.startBrowserLogin>> {
  parseProvenKey('browser-login', input.user ?? '', input)
  checkRedirect(input.redirect_uri)
  if (input.connector === PASSWORDLESS) checkPasswordless(context)
  else if (input.connector !== undefined) getConnector(context, input.connector)
  const id = secret(context)
  const now = context.now()
  const { possession: _, ...document } = input
  await createLoginFlow(context.db, { id: flowKey(id), address: networkOf(remoteAddress), document, expires_at: now + FLOW_MS }, now)
  return { login_id: id, path: `/web/login?id=${id}` }
}

function checkPasswordless(context: AuthContext): void {
  if (!allowsPasswords(context) || !secondFactorsOf(authPreference(context).spec).passwordless)
    throw new AppError('failed_precondition', 'this cluster does not let anybody in by a passkey alone: choose another --auth')
}

/** The sign-in under way that a page belongs to; throws `not_found`. */
export async function getLoginFlow(context: AuthContext, id: string): Promise<LoginFlow> {
  const document = await findLoginFlow(context.db, flowKey(id), context.now())
  if (document === undefined) throw new AppError('not_found', 'this sign-in was used already or has expired: run tsh login again')
  return flowSchema.parse(document)
}

/** Lets in who signed in on the page; the answer is where the browser goes next, with a code that is worth one certificate. */
export async function approveLogin(context: AuthContext, id: string, signedIn: SignedIn): Promise<string> {
  const flow = await getLoginFlow(context, id)
  const now = context.now()
  if ((await consumeLoginFlow(context.db, flowKey(id), now)) === undefined)
    throw new AppError('not_found', 'this sign-in was used already or has expired: run tsh login again')
  const code = secret(context)
  const { user, mfaVerified, account } = signedIn
  const document = { ...flow, login_id: id, user, mfa: mfaVerified, account }
  await createLoginFlow(context.db, { id: grantKey(code), ...provenFlow(user), document, expires_at: now + CODE_MS }, now)
  const target = new URL(flow.redirect_uri)
  target.searchParams.set('code', code)
  target.searchParams.set('login_id', id)
  return target.href
}

export async function finishBrowserLogin(
  context: AuthContext,
  input: Input<'finishBrowserLogin'>,
  caller: Caller,
): Promise<IssuedIdentity> {
  // Taken out before it is looked at: a code is tried once, with whatever verifier.
  const document = await consumeLoginFlow(context.db, grantKey(input.code), context.now())
  const grant = document === undefined ? undefined : grantSchema.parse(document)
  if (!grant || grant.login_id !== input.login_id || !isVerifier(input.code_verifier, grant.code_challenge))
    throw new AppError('unauthenticated', 'this sign-in is not known, was used already or has expired: run tsh login again')
  const { user, mfa, account } = grant
  const key = parsePublicKey(grant.public_key)
  const { issued, serial } = await issueForUser(context, { user, key, ttlSeconds: grant.ttl, mfaVerified: mfa, account })
  await recordIssue(context, { user, remote_addr: caller.remoteAddress }, { issued, serial })
  return issued
}

/** Only this machine's own loopback: the code must not travel (RFC 8252 7.3). */
function checkRedirect(text: string): void {
  const url = URL.parse(text)
  const isOurs =
    url?.protocol === 'http:' &&
    ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname) &&
    url.pathname === '/callback' &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === ''
  if (!isOurs) throw new AppError('invalid_argument', 'redirect_uri must be http://127.0.0.1:PORT/callback')
}

/** S256 of RFC 7636 4.6. */
function isVerifier(verifier: string, challenge: string): boolean {
  const computed = Buffer.from(createHash('sha256').update(verifier).digest('base64url'))
  const expected = Buffer.from(challenge)
  return computed.length === expected.length && timingSafeEqual(computed, expected)
}

function secret(context: AuthContext): string {
  return Buffer.from(context.random(32)).toString('base64url')
}

/** What stands in the store cannot be used by who reads the store. */
function flowKey(id: string): string {
  return `flow:${createHash('sha256').update(id).digest('hex')}`
}

function grantKey(code: string): string {
  return `grant:${createHash('sha256').update(code).digest('hex')}`
}
