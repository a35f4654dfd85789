import type { ApiClient } from '../../client/call.ts'
import { fetchMfaDevices, fetchMfaOffer, keepMfaApp } from '../../client/mfa.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { openBrowser } from './browser.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { askLine } from './prompt.ts'

/** An authenticator app is set up here; a passkey in the browser, which alone can talk to one. */
export async function run(context: Context): Promise<void> {
  const type = await chooseType(context)
  await withConnection(context, ({ api }) => (type === 'totp' ? addApp(context, api) : leadToPage(context, api)))
}

async function chooseType({ call, io }: Context): Promise<'totp' | 'webauthn'> {
  if (call.flag('allow-passwordless')) return 'webauthn'
  const word = (call.text('type') ?? (await askLine(io, { question: 'Type of the second factor: TOTP or WEBAUTHN' }))).toLowerCase()
  if (word === 'totp' || word === 'webauthn') return word
  // What Teleport calls a passkey of the laptop itself.
  if (word === 'touchid') return 'webauthn'
  throw new AppError('invalid_argument', `--type is TOTP or WEBAUTHN, not "${word}"`)
}

async function addApp({ call, io }: Context, api: ApiClient): Promise<void> {
  const { change_needs, page } = await fetchMfaDevices(api)
  if (change_needs === 'browser')
    throw new AppError('failed_precondition', `your second factor is a passkey, which browsers alone can use: add the app at ${page}`)
  const name = call.text('name') ?? (await askLine(io, { question: 'Name of the new second factor' }))
  const proof = await askProof(io, change_needs)
  const { totp_secret, totp_uri } = await fetchMfaOffer(api)
  io.stderr.write(
    `Add this to your authenticator app:\n  ${sanitizeTerminal(totp_uri)}\nor type its secret there: ${sanitizeTerminal(totp_secret)}\n`,
  )
  const totp = await askLine(io, { question: 'The code it shows now' })
  await keepMfaApp(api, { name, totp_secret, totp, proof })
  io.stdout.write(`Second factor "${sanitizeTerminal(name)}" added.\n`)
}

async function leadToPage({ call, io }: Context, api: ApiClient): Promise<void> {
  const { page } = await fetchMfaDevices(api)
  const url = URL.parse(page)
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') throw new AppError('unavailable', 'the proxy names no page to open')
  io.stderr.write(`Passkeys are made in the browser. Sign in there and choose "Add a passkey":\n  ${url.href}\n`)
  openBrowser(url.href, { choice: call.text('browser'), env: io.env, platform: process.platform })
}

/** What a change of second factors needs beside the certificate. */
export function askProof(io: Context['io'], needed: 'totp' | 'password'): Promise<string> {
  return needed === 'totp'
    ? askLine(io, { question: 'A code of an authenticator app that you have already' })
    : askLine(io, { question: 'Your password', secret: true })
}
