import { completeSignup, fetchSignup, parseSignupLink, type Signup } from '../../client/signup.ts'
import { renderProxyAddress } from '../../client/proxy-address.ts'
import { establishTrust, pinsOf } from '../../client/trust.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import type { Context, TshIo } from './context.ts'
import { askLine } from './prompt.ts'
import { readPassword } from './login.ts'

const MIN_PASSWORD = 12

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const link = call.argument('url') ?? ''
  const { proxy, token } = parseSignupLink(link)
  const remedy = (pin: string): string => `run: tsh signup --ca-pin=${pin} ${link}`
  const trusted = await establishTrust({ proxy, known: [], caPins: call.list('ca-pin'), insecure: call.flag('insecure'), remedy })
  try {
    if (trusted.how === 'first-use')
      io.stderr.write(`The certificate authority of ${renderProxyAddress(proxy)} is ${pinsOf(trusted).join(', ')}\n`)
    const signup = printable(await fetchSignup(trusted, token))
    const file = call.text('password-file')
    const password = file === undefined ? await choosePassword(io, signup.user) : await readPassword(file)
    const code = signup.isTotpRequired || call.flag('totp') ? await setUpTotp(io, signup) : undefined
    await completeSignup(trusted, { token, password, totp: code === undefined ? undefined : { secret: signup.totpSecret, code } })
    io.stdout.write(`${signup.user} can sign in now:\n  tsh login --proxy=${renderProxyAddress(proxy)} --user=${signup.user}\n`)
  } finally {
    trusted.close()
  }
}

/** What a proxy says is shown, so it must not drive the terminal. */
function printable(signup: Signup): Signup {
  const [user, totpSecret, totpUri] = [signup.user, signup.totpSecret, signup.totpUri].map(sanitizeTerminal)
  return { ...signup, user: user ?? '', totpSecret: totpSecret ?? '', totpUri: totpUri ?? '' }
}

async function choosePassword(io: TshIo, user: string): Promise<string> {
  const password = await askLine(io, { question: `Password for ${user} (at least ${MIN_PASSWORD} characters)`, secret: true })
  if (password.length < MIN_PASSWORD)
    throw new AppError('invalid_argument', `a password has at least ${MIN_PASSWORD} characters; the link is still good`)
  const again = await askLine(io, { question: 'The same once more', secret: true })
  if (again !== password) throw new AppError('invalid_argument', 'the two passwords differ; the link is still good')
  return password
}

async function setUpTotp(io: TshIo, { totpSecret, totpUri }: Signup): Promise<string> {
  io.stderr.write(`Add this to your authenticator app:\n  ${totpUri}\nor type its secret there: ${totpSecret}\n`)
  return askLine(io, { question: 'The code it shows now' })
}
