import { AppError } from '../../../lib/errors.ts'

/** Runs steps of the library and turns what it throws into what a person can act on. */
export async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    throw faultOf(thrown)
  }
}

/** Of the library: no answer of the protocol at all. */
const NOT_AS_IT_SHOULD = new Set(['OAUTH_RESPONSE_IS_NOT_CONFORM', 'OAUTH_RESPONSE_IS_NOT_JSON', 'OAUTH_PARSE_ERROR', 'OAUTH_TIMEOUT'])

function faultOf(thrown: unknown): unknown {
  for (let cause = thrown; cause instanceof Error; cause = cause.cause) if (cause instanceof AppError) return cause
  if (!(thrown instanceof Error)) return thrown
  // Members of the library's errors: what the provider answered (RFC 6749 sections 4.1.2.1 and 5.2), else what did not hold.
  const error = textOf(thrown, 'error')
  if (error !== undefined) return refusal(thrown, error, textOf(thrown, 'error_description'))
  const code: unknown = Reflect.get(thrown, 'code')
  if (typeof code === 'string' && NOT_AS_IT_SHOULD.has(code))
    return new AppError('unavailable', `the identity provider does not answer as it should (${thrown.message}): try again`, {
      cause: thrown,
    })
  const what = thrown.cause instanceof Error ? thrown.cause.message : thrown.message
  return new AppError(
    'permission_denied',
    `what the identity provider sent does not hold (${what.slice(0, 200)}): start again, and tell your administrator if it stays so`,
    { cause: thrown },
  )
}

function refusal(cause: Error, error: string, description: string | undefined): AppError {
  const words = [error, description].filter((text) => text !== undefined).join(': ')
  switch (error) {
    case 'invalid_grant':
    case 'bad_verification_code':
      return new AppError('permission_denied', `the identity provider takes this code no longer (${words}): start again`, { cause })
    case 'invalid_client':
    case 'unauthorized_client':
    case 'incorrect_client_credentials':
      return new AppError(
        'permission_denied',
        `the identity provider does not know this cluster by its client_id and client_secret (${words}): tell your administrator`,
        { cause },
      )
    default:
      return new AppError('permission_denied', `the identity provider refused the sign-in (${words})`, { cause })
  }
}

function textOf(thrown: Error, member: string): string | undefined {
  const value: unknown = Reflect.get(thrown, member)
  return typeof value === 'string' ? value.slice(0, 300) : undefined
}
