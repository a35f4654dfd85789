import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import { findAccountId } from '../../../storage/credentials.ts'
import { findMfaDeviceByCredential, listMfaDevices, useMfaDevice } from '../../../storage/mfa-devices.ts'
import type { MfaDevice } from '../../../storage/mfa-devices.ts'
import type { AuthContext } from '../context.ts'
import { beginChallenge, takeChallenge } from './challenges.ts'
import type { ChallengePurpose, Place } from './challenges.ts'
import { PasskeyRefusal } from './refusal.ts'
import { findRelyingParty } from './relying-party.ts'
import type { RelyingParty } from './relying-party.ts'

/** Whence a request about passkeys comes. */
export interface PasskeyPlace extends Place {
  host: string | undefined
  remoteAddress: string
}

/** What a page is to call: `get` or `create` of `navigator.credentials`, with options as JSON (WebAuthn Level 3, section 5.1). */
export interface Ceremony {
  call: 'get' | 'create'
  publicKey: object
}

const MAX_RESPONSE = 16 * 1024
const TIMEOUT_MS = 2 * 60_000
/** EdDSA, ES256 and RS256 (COSE), which all browsers know; the library would ask the runtime for experimental ones, too. */
const ALGORITHMS = [-8, -7, -257]

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/)
const headSchema = z.object({
  id: base64url.max(1400),
  rawId: base64url.max(1400),
  type: z.literal('public-key'),
  clientExtensionResults: z
    .object({})
    .default({})
    .transform(() => ({})),
})
const assertionSchema = headSchema.extend({
  response: z.object({
    clientDataJSON: base64url,
    authenticatorData: base64url,
    signature: base64url,
    userHandle: base64url.nullish().transform((handle) => handle ?? undefined),
  }),
})
const attestationSchema = headSchema.extend({
  response: z.object({
    clientDataJSON: base64url,
    attestationObject: base64url,
    transports: z.array(z.string().max(30)).max(10).default([]),
  }),
})
const clientDataSchema = z.object({ challenge: base64url })

/** What is kept of a passkey. */
const passkeySchema = z.object({
  /** COSE, base64url. */
  public_key: z.string(),
  transports: z.array(z.string()),
  rp_id: z.string(),
  /** Whether it may be copied to other devices of its owner. */
  synced: z.boolean(),
  /** Whether it has verified its owner, so that it may stand alone. */
  verified: z.boolean(),
})
export type Passkey = z.infer<typeof passkeySchema>

export function passkeyOf({ document }: MfaDevice): Passkey {
  return passkeySchema.parse(JSON.parse(document))
}

/** Begins what a page does with a passkey. Throws `failed_precondition` where browsers have none for this cluster. */
export async function beginCeremony(context: AuthContext, purpose: ChallengePurpose, place: PasskeyPlace): Promise<Ceremony> {
  const party = getParty(context, place)
  const challenge = await beginChallenge(context, purpose, { ...place, rpId: party.id })
  const library = await import('@simplewebauthn/server')
  if (purpose.type === 'sign-in') {
    const options = { rpID: party.id, challenge, timeout: TIMEOUT_MS, userVerification: 'required' as const }
    return { call: 'get', publicKey: await library.generateAuthenticationOptions(options) }
  }
  const ids = await listIds(context, purpose.user, party)
  if (purpose.type === 'second-factor') {
    const options = { rpID: party.id, challenge, timeout: TIMEOUT_MS, userVerification: 'discouraged' as const, allowCredentials: ids }
    return { call: 'get', publicKey: await library.generateAuthenticationOptions(options) }
  }
  return {
    call: 'create',
    publicKey: await library.generateRegistrationOptions({
      rpID: party.id,
      rpName: `Sallyport ${context.clusterName}`,
      userName: purpose.user,
      userDisplayName: purpose.user,
      userID: await handleOf(context, purpose.user),
      challenge,
      timeout: TIMEOUT_MS,
      attestationType: 'none',
      supportedAlgorithmIDs: ALGORITHMS,
      excludeCredentials: ids,
      authenticatorSelection: purpose.alone
        ? { residentKey: 'required', userVerification: 'required' }
        : { residentKey: 'preferred', userVerification: 'preferred' },
    }),
  }
}

/** The passkeys of a user that work at this domain: not those from before it was changed. */
async function listIds(context: AuthContext, user: string, { id: domain }: RelyingParty): Promise<{ id: string; transports: string[] }[]> {
  return (await listMfaDevices(context.db, user)).flatMap((device) => {
    if (device.credential_id === null) return []
    const { rp_id, transports } = passkeyOf(device)
    return rp_id === domain ? [{ id: device.credential_id, transports }] : []
  })
}

/** A passkey that signed for what it was asked. */
export interface ProvenPasskey {
  device: MfaDevice
  /** It asked for a finger, a face or a PIN. */
  verified: boolean
}

export interface Asker {
  /** Whose it has to be; else it has to have verified its owner. */
  user?: string
  /** Told whose it says it is, before that is proven. */
  found?: (user: string) => void
}

/**
 * The passkey whose answer this is, and no other (WebAuthn Level 3, section 7.2). Throws PasskeyRefusal with the reason; a counter that did
 * not grow is refused, too: there may be a copy.
 */
export async function verifyPasskey(
  context: AuthContext,
  text: string,
  place: PasskeyPlace,
  { user, found }: Asker,
): Promise<ProvenPasskey> {
  const response = readResponse(assertionSchema, text)
  const { purpose, rp_id } = await takeChallenge(context, challengeOf(response.response.clientDataJSON), place)
  if (purpose.type !== (user === undefined ? 'sign-in' : 'second-factor') || (purpose.type === 'second-factor' && purpose.user !== user))
    throw new PasskeyRefusal('the challenge was given for something else')
  const device = await findMfaDeviceByCredential(context.db, response.id)
  if (!device || (user !== undefined && device.user !== user)) throw new PasskeyRefusal('unknown passkey')
  found?.(device.user)
  await checkHandle(context, device.user, response.response.userHandle, user === undefined)
  const passkey = passkeyOf(device)
  if (passkey.rp_id !== rp_id) throw new PasskeyRefusal('the passkey is for another domain')
  const { counter, verified } = await verifyAssertion(context, response, passkey, place, user === undefined)
  if (!(await useMfaDevice(context.db, device.id, counter, context.now())))
    throw new PasskeyRefusal(`the counter of the passkey "${device.name}" went back: there may be a copy of it`)
  return { device, verified }
}

/** The new passkey that this is the answer about, and for whom; to be kept by the caller. Throws PasskeyRefusal. */
export async function readRegistration(
  context: AuthContext,
  text: string,
  place: PasskeyPlace,
  user: string,
): Promise<{ credential_id: string; document: string; counter: number; alone: boolean }> {
  const response = readResponse(attestationSchema, text)
  const { purpose, rp_id } = await takeChallenge(context, challengeOf(response.response.clientDataJSON), place)
  if (purpose.type !== 'register' || purpose.user !== user) throw new PasskeyRefusal('the challenge was given for something else')
  const library = await import('@simplewebauthn/server')
  const { verified, registrationInfo } = await refusing(() =>
    library.verifyRegistrationResponse({
      response,
      expectedChallenge: challengeOf(response.response.clientDataJSON),
      expectedOrigin: getParty(context, place).origins,
      expectedRPID: rp_id,
      requireUserVerification: purpose.alone,
      supportedAlgorithmIDs: ALGORITHMS,
    }),
  )
  if (!verified) throw new PasskeyRefusal('the attestation is not right')
  const { credential, userVerified, credentialDeviceType } = registrationInfo
  const passkey: Passkey = {
    public_key: Buffer.from(credential.publicKey).toString('base64url'),
    transports: response.response.transports,
    rp_id,
    synced: credentialDeviceType === 'multiDevice',
    verified: userVerified,
  }
  return { credential_id: credential.id, document: JSON.stringify(passkey), counter: credential.counter, alone: purpose.alone }
}

async function verifyAssertion(
  context: AuthContext,
  response: z.infer<typeof assertionSchema>,
  passkey: Passkey,
  place: PasskeyPlace,
  requireUserVerification: boolean,
): Promise<{ counter: number; verified: boolean }> {
  const library = await import('@simplewebauthn/server')
  const { verified, authenticationInfo } = await refusing(() =>
    library.verifyAuthenticationResponse({
      response,
      expectedChallenge: challengeOf(response.response.clientDataJSON),
      expectedOrigin: getParty(context, place).origins,
      expectedRPID: passkey.rp_id,
      requireUserVerification,
      // The counter is compared once the signature is known to be right: else anybody could make it look as if there were a copy.
      credential: { id: response.id, publicKey: Uint8Array.from(Buffer.from(passkey.public_key, 'base64url')), counter: 0 },
    }),
  )
  if (!verified) throw new PasskeyRefusal('wrong signature of a passkey')
  return { counter: authenticationInfo.newCounter, verified: authenticationInfo.userVerified }
}

/** Whose it is by its own account; a passkey that stands alone has to say so (section 7.2, step 6). */
async function checkHandle(context: AuthContext, user: string, sent: string | undefined, isNeeded: boolean): Promise<void> {
  if (sent === undefined && !isNeeded) return
  if (sent !== Buffer.from(await handleOf(context, user)).toString('base64url'))
    throw new PasskeyRefusal('the passkey belongs to another account')
}

/** Tells nobody who somebody is (section 14.6.1); another one after a reset. */
async function handleOf(context: AuthContext, user: string): Promise<Uint8Array<ArrayBuffer>> {
  const account = await findAccountId(context.db, user)
  if (account === undefined) throw new PasskeyRefusal('the user is gone')
  return Uint8Array.from(Buffer.from(account, 'hex'))
}

function getParty(context: AuthContext, { host }: PasskeyPlace): RelyingParty {
  const party = findRelyingParty(context, host)
  if (!party)
    throw new AppError(
      'failed_precondition',
      'browsers keep no passkeys for an IP address: reach this cluster by a name, or set webauthn.rp_id',
    )
  return party
}

/** The id of the passkey that an answer says it is of; '' for what is no answer. */
export function claimedId(text: string): string {
  const parsed = headSchema.safeParse(text.length > MAX_RESPONSE ? undefined : parseJson(text))
  return parsed.success ? parsed.data.id : ''
}

function readResponse<S extends z.ZodType>(schema: S, text: string): z.output<S> {
  const parsed = schema.safeParse(text.length > MAX_RESPONSE ? undefined : parseJson(text))
  if (!parsed.success) throw new PasskeyRefusal('what came was no answer of a passkey')
  return parsed.data
}

function challengeOf(clientDataJSON: string): string {
  const parsed = clientDataSchema.safeParse(parseJson(Buffer.from(clientDataJSON, 'base64url').toString()))
  if (!parsed.success) throw new PasskeyRefusal('what came was no answer of a passkey')
  return parsed.data.challenge
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The library says by throwing what is not right. */
async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw new PasskeyRefusal(cause instanceof Error ? cause.message.slice(0, 300) : 'the answer of the passkey is not right')
  }
}
