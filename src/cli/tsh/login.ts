import { lstat } from 'node:fs/promises'
import { fetchDefaultConnector, profileOf, renderIdentity, signInWithBrowser, signInWithPassword } from '../../client/login.ts'
import type { SignedIn } from '../../client/login.ts'
import { findProfile, loadIdentity, saveProfile, tshHome } from '../../client/profile.ts'
import { parseProxyAddress, renderProxyAddress } from '../../client/proxy-address.ts'
import type { ProxyAddress } from '../../client/proxy-address.ts'
import { establishTrust, pinsOf } from '../../client/trust.ts'
import type { TrustedProxy } from '../../client/trust.ts'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Context } from './context.ts'
import { openBrowser } from './browser.ts'
import { askLine } from './prompt.ts'
import { run as showStatus } from './status.ts'

const BROWSER_TIMEOUT_MS = 180_000

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const out = call.text('out')
  if (call.text('identity')) throw new AppError('invalid_argument', 'tsh login makes credentials: --identity does not go with it')
  if (out && !call.flag('overwrite') && (await lstat(out).catch(() => undefined)))
    throw new AppError('already_exists', `${out} is there already: use --overwrite to replace it`)
  const ttlSeconds = parseTtl(call.text('ttl'))
  const proxy = await chooseProxy(context)
  const trusted = await trust(context, proxy)
  try {
    const signedIn = await signIn(context, trusted, ttlSeconds)
    checkClock(signedIn, context.now())
    if (out) await writeFileAtomic(out, renderIdentity(signedIn), { mode: 0o600 })
    else await saveProfile(tshHome(io.env), profileOf(trusted, signedIn), signedIn.identity)
    if (out) return void io.stdout.write(`The certificate has been written to ${out}\n`)
  } finally {
    trusted.close()
  }
  await showStatus({
    ...context,
    call: { ...call, text: (name) => (name === 'proxy' ? renderProxyAddress(proxy) : name === 'format' ? 'text' : call.text(name)) },
  })
}

/** A certificate that is over the moment it comes is of no use, and would be called expired from then on. */
function checkClock({ issued }: SignedIn, now: number): void {
  if (Date.parse(issued.expires) > now) return
  throw new AppError('failed_precondition', `the new certificate has expired at ${issued.expires} already: check this machine's clock`)
}

async function chooseProxy({ call, io }: Context): Promise<ProxyAddress> {
  const named = call.text('proxy') ?? (await findProfile(tshHome(io.env)))?.proxy
  if (named === undefined) throw new AppError('invalid_argument', 'the proxy is not known: tsh login --proxy=HOST:PORT')
  return parseProxyAddress(named)
}

async function trust({ call, io }: Context, proxy: ProxyAddress): Promise<TrustedProxy> {
  const home = tshHome(io.env)
  const earlier = await findProfile(home, renderProxyAddress(proxy))
  const known = earlier && !earlier.insecure ? (await loadIdentity(home, earlier)).authorityPems : []
  if (call.flag('insecure')) io.stderr.write('WARNING: you are using an insecure connection: nobody checks who the proxy is.\n')
  const user = call.text('user')
  const remedy = (pin: string): string =>
    `run: tsh login --proxy=${renderProxyAddress(proxy)}${user === undefined ? '' : ` --user=${user}`} --ca-pin=${pin}`
  const trusted = await establishTrust({ proxy, known, caPins: call.list('ca-pin'), insecure: call.flag('insecure'), remedy })
  if (trusted.how === 'first-use')
    io.stderr.write(`First sign-in at ${renderProxyAddress(proxy)}: its certificate authority is ${pinsOf(trusted).join(', ')}\n`)
  return trusted
}

async function signIn(context: Context, trusted: TrustedProxy, ttlSeconds: number | undefined): Promise<SignedIn> {
  const { call, io } = context
  const way = await chooseWay(context, trusted)
  if (way.method === 'browser')
    return await signInOnPage(context, trusted, { user: call.text('user'), connector: way.connector, ttlSeconds })
  const user =
    call.text('user') ?? (await userOfProfile(context)) ?? (io.stdin.isTTY ? await askLine(io, { question: 'User name' }) : undefined)
  if (!user) throw new AppError('invalid_argument', 'the user is not known: use --user=NAME')
  const file = call.text('password-file')
  const password = file === undefined ? await askLine(io, { question: `Password of ${user}`, secret: true }) : await readPassword(file)
  try {
    return await signInWithPassword(trusted, { user, password, ttlSeconds })
  } catch (thrown) {
    const asked = thrown instanceof AppError ? thrown.details?.['second_factor'] : undefined
    if (asked === 'webauthn') {
      io.stderr.write('Your second factor is a passkey, which browsers alone can use: go on there.\n')
      return await signInOnPage(context, trusted, { user, connector: undefined, ttlSeconds })
    }
    if (asked !== 'totp') throw thrown
    const totp = await askLine(io, { question: 'One-time code' })
    return await signInWithPassword(trusted, { user, password, totp, ttlSeconds })
  }
}

function signInOnPage(
  { call, io }: Context,
  trusted: TrustedProxy,
  wanted: { user: string | undefined; connector: string | undefined; ttlSeconds: number | undefined },
): Promise<SignedIn> {
  return signInWithBrowser(trusted, { ...wanted, timeoutMs: BROWSER_TIMEOUT_MS, signal: call.signal }, (url) => {
    io.stderr.write(`If the browser does not open by itself, open this page to sign in:\n  ${url}\n`)
    openBrowser(url, { choice: call.text('browser'), env: io.env, platform: process.platform })
  })
}

interface Way {
  method: 'local' | 'browser'
  /** By which the browser goes straight to the identity provider. */
  connector?: string | undefined
}

/** Without a word about it: as people of this cluster sign in, else the browser where a person sits, else a password. */
async function chooseWay({ call, io }: Context, trusted: TrustedProxy): Promise<Way> {
  const named = call.text('auth')
  if (named === 'local' || named === 'browser') return { method: named }
  if (named === 'headless') throw new AppError('invalid_argument', 'there is no headless sign-in here: use --auth=browser')
  if (named !== undefined) return { method: 'browser', connector: named }
  if (call.isGiven('password-file')) return { method: 'local' }
  const connector = await fetchDefaultConnector(trusted)
  if (connector !== undefined) return { method: 'browser', connector }
  return { method: call.isGiven('browser') || (!call.text('user') && io.stdin.isTTY) ? 'browser' : 'local' }
}

async function userOfProfile({ io }: Context): Promise<string | undefined> {
  return (await findProfile(tshHome(io.env)))?.user
}

function parseTtl(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const minutes = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (minutes < 1) throw new AppError('invalid_argument', `--ttl is a number of minutes, not "${text}"`)
  return minutes * 60
}

/** The password in a file, without its line end. */
export async function readPassword(file: string): Promise<string> {
  const text = await readTextIfPresent(file)
  if (text === undefined) throw new AppError('not_found', `there is no file ${file}`)
  return text.replace(/\r?\n$/, '')
}
