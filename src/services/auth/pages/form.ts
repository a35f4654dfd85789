import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { AppError, CODES, toAppError } from '../../../lib/errors.ts'
import type { AppEnv } from '../authenticate.ts'
import type { AuthContext } from '../context.ts'
import { recordRefusedRequest } from '../refused-requests.ts'
import { renderNotice, SCRIPT_TAG } from './layout.ts'

export type PageContext = Context<AppEnv>

/** Where forms may end beside ourselves: at programs on this computer. */
const LOCAL_TARGETS = 'http://127.0.0.1:* http://localhost:*'

/**
 * Nothing from elsewhere, and our one script only on a page that has it; a form may end at `targets` beside ourselves, which matters to
 * browsers also for where it redirects to.
 */
function pagePolicy(targets: string, hasScript: boolean): string {
  const script = hasScript ? "script-src 'self'; connect-src 'self'; " : ''
  return `default-src 'none'; ${script}style-src 'self'; form-action 'self' ${targets}; frame-ancestors 'none'; base-uri 'none'`
}

/** Serves a page: its headers, the limit of calls, and what went wrong as a page. */
export function servePage(context: AuthContext, work: (c: PageContext) => Promise<Response>): (c: PageContext) => Promise<Response> {
  return async (c) => {
    c.header('content-security-policy', pagePolicy(LOCAL_TARGETS, false))
    // With no-referrer a browser sends `Origin: null` with our own forms (Fetch, 3.1), which nobody could tell from a stranger's.
    c.header('referrer-policy', 'same-origin')
    try {
      if (!c.env.peer.internal) await context.limits.countPublicCall(c.env.peer.remoteAddress)
      return await work(c)
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code === 'internal') context.log.error(error.message, { ...error.details, cause: error.cause })
      // A form of another site, another browser or another flow.
      if (c.req.method === 'POST' && (error.code === 'permission_denied' || error.code === 'not_found')) {
        const { method, path } = c.req
        await recordRefusedRequest(context, { method, path, remoteAddress: c.env.peer.remoteAddress }, error)
      }
      return answerPage(c, renderNotice('This does not work', context.clusterName, error.message), CODES[error.code].http)
    }
  }
}

/** `targets`: where the forms of the page may end, as sources of a content security policy. */
export function answerPage(c: PageContext, body: string, status: number, targets = LOCAL_TARGETS): Response {
  c.header('content-security-policy', pagePolicy(targets, body.includes(SCRIPT_TAG)))
  return c.html(body, status as ContentfulStatusCode) // every status of CODES allows a body
}

/** What a person can put right; everything else goes to the edge, which logs it. */
export function known(thrown: unknown): AppError {
  if (thrown instanceof AppError && thrown.code !== 'internal') return thrown
  throw thrown
}

export async function readForm(c: PageContext): Promise<URLSearchParams> {
  if (!/^application\/x-www-form-urlencoded(?:$|[ ;])/i.test(c.req.header('content-type') ?? ''))
    throw new AppError('invalid_argument', 'send the form of the page')
  return new URLSearchParams(await c.req.text())
}

/** Bound to one flow, which ends when it was used: a form that another site made up has none. */
export function formToken(context: AuthContext, flow: string): string {
  return createHmac('sha256', context.keys.formKey).update(flow).digest('base64url')
}

export function checkFormToken(context: AuthContext, flow: string, sent: string | null): void {
  const expected = Buffer.from(formToken(context, flow))
  const given = Buffer.from(sent ?? '')
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new AppError('permission_denied', 'this form is not from a page of this cluster: open the link again')
}

/** What a person enters to sign in. */
export function readSignIn(form: URLSearchParams): { user: string; password: string; totp: string | undefined } {
  return {
    user: (form.get('user') ?? '').slice(0, 255),
    password: form.get('password') ?? '',
    totp: form.get('totp')?.trim() || undefined,
  }
}
