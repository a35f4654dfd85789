import { Secret, TOTP } from 'otpauth'
import { AppError } from '../../lib/errors.ts'

/** RFC 6238 with what every authenticator app understands: SHA-1, six digits, 30 seconds. */
const PERIOD_SECONDS = 30
const SECRET_BYTES = 20
/** One step either way, for clocks that differ (RFC 6238 5.2). */
const WINDOW = 1

/** A fresh secret in base32 and the `otpauth://` URI that authenticator apps read. */
export function offerTotp(user: string, clusterName: string, random: (bytes: number) => Uint8Array): { secret: string; uri: string } {
  const secret = new Secret({ buffer: Uint8Array.from(random(SECRET_BYTES)).buffer })
  return describeTotp(user, clusterName, secret.base32)
}

/** The same for a secret offered before. */
export function describeTotp(user: string, clusterName: string, base32: string): { secret: string; uri: string } {
  return { secret: base32, uri: totpOf(base32, user, clusterName).toString() }
}

/** The time step a code belongs to, or undefined when it is not valid at `now` (ms). A step counts once: the caller remembers it. */
export function findTotpStep(base32: string, code: string, now: number): number | undefined {
  if (!/^\d{6}$/.test(code)) return undefined
  const delta = totpOf(base32, 'user', 'cluster').validate({ token: code, timestamp: now, window: WINDOW })
  return delta === null ? undefined : Math.floor(now / 1000 / PERIOD_SECONDS) + delta
}

function totpOf(base32: string, user: string, clusterName: string): TOTP {
  if (!/^[A-Z2-7]{32,64}$/.test(base32)) throw new AppError('invalid_argument', 'totp_secret must be base32 of at least 160 bits')
  return new TOTP({
    issuer: `Sallyport ${clusterName}`,
    label: user,
    algorithm: 'SHA1',
    digits: 6,
    period: PERIOD_SECONDS,
    secret: Secret.fromBase32(base32),
  })
}
