import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import type { App } from '../../../resources/app.ts'
import type { AuthContext } from '../context.ts'
import { type OwnClient, secretOf } from './clients.ts'
import { type AccountFetch, trustedOrigins } from './discovery.ts'

/** What an authorization server gave us. */
export interface Tokens {
  accessToken: string
  /** Milliseconds since 1970; undefined where it does not say. */
  expiresAt: number | undefined
  refreshToken: string | undefined
  scope: string | undefined
}

const tokensSchema = z.object({
  access_token: z.string().regex(/^[\x21-\x7e]{1,16384}$/),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: z.coerce
    .number()
    .positive()
    .max(10 * 366 * 86_400)
    .optional()
    .catch(undefined),
  refresh_token: z.string().min(1).max(16_384).optional(),
  scope: z.string().max(4000).optional(),
})

/** Of an authorization server that will not give tokens for this any more, whoever asks and when (RFC 6749 section 5.2). */
export class GrantRefused extends AppError {
  /** Whether it is us whom it does not know. */
  readonly isClient: boolean

  constructor(message: string, isClient: boolean) {
    super('failed_precondition', message)
    this.isClient = isClient
  }
}

const FINAL: ReadonlySet<string> = new Set([
  'invalid_grant',
  'invalid_client',
  'unauthorized_client',
  'invalid_scope',
  'unsupported_grant_type',
])

/** Throws `GrantRefused` for what no repetition changes, `unavailable` for everything else. */
export async function askForTokens(
  context: AuthContext,
  app: App,
  { issuer, tokenEndpoint, client }: { issuer: string; tokenEndpoint: string; client: OwnClient },
  parameters: Readonly<Record<string, string>>,
  fetch: AccountFetch,
): Promise<Tokens> {
  const url = URL.parse(tokenEndpoint)
  if (!url) throw new AppError('failed_precondition', `${issuer} names no token endpoint`)
  const secret = await secretOf(context, client)
  const isBasic = client.authMethod === 'client_secret_basic' && secret !== undefined
  const isPost = client.authMethod === 'client_secret_post' && secret !== undefined
  const form = new URLSearchParams({ ...parameters, ...(!isBasic && { client_id: client.id }), ...(isPost && { client_secret: secret }) })
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    ...(isBasic && { authorization: `Basic ${Buffer.from(`${encode(client.id)}:${encode(secret)}`).toString('base64')}` }),
  }
  const answer = await fetch(url, trustedOrigins(app), { body: form.toString(), headers })
  const document = parseJson(answer.body)
  if (answer.status === 200) {
    const parsed = tokensSchema.safeParse(document)
    if (!parsed.success) throw new AppError('unavailable', `${issuer} answered with what is no bearer token`)
    const { access_token, expires_in, refresh_token, scope } = parsed.data
    const expiresAt = expires_in === undefined ? undefined : context.now() + expires_in * 1000
    return { accessToken: access_token, expiresAt, refreshToken: refresh_token, scope }
  }
  const error = errorOf(document)
  if (answer.status >= 400 && answer.status < 500 && error !== undefined && FINAL.has(error))
    throw new GrantRefused(`${issuer} refuses: ${error}`, error === 'invalid_client' || error === 'unauthorized_client')
  throw new AppError('unavailable', `${issuer} gave no token (HTTP ${answer.status}): try again in a moment`)
}

/** RFC 6749 section 2.3.1: as in a form, before the two are joined. */
function encode(text: string): string {
  return new URLSearchParams({ t: text }).toString().slice(2)
}

function errorOf(document: unknown): string | undefined {
  const isObject = typeof document === 'object' && document !== null && 'error' in document
  return isObject && typeof document.error === 'string' && /^[a-z_]{1,64}$/.test(document.error) ? document.error : undefined
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined // said as an answer without an error of its own
  }
}
