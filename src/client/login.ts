import { createHash, randomBytes } from 'node:crypto'
import { ping } from '../api/cluster.ts'
import { finishBrowserLogin, loginLocal, startBrowserLogin } from '../api/identity.ts'
import type { IssuedIdentity } from '../api/identity.ts'
import { possessionChallenge } from '../api/possession.ts'
import { renderIdentityFile } from '../ca/identity-file.ts'
import type { IdentityFile } from '../ca/identity-file.ts'
import { generateKeyPair, renderPrivateKey, renderPublicKey, signPossession } from '../ca/keys.ts'
import { AppError } from '../lib/errors.ts'
import { createApiClient } from './call.ts'
import { startCallbackListener } from './login-callback.ts'
import type { Profile } from './profile.ts'
import { renderProxyAddress } from './proxy-address.ts'
import type { TrustedProxy } from './trust.ts'

/** A finished sign-in: what the Auth Service said of the person, and what proves it from now on. The key was made here. */
export interface SignedIn {
  issued: IssuedIdentity
  identity: IdentityFile
}

/** Signs in with a password and, where the cluster wants one, a one-time code. `ttlSeconds` absent: as long as the roles allow. */
export async function signInWithPassword(
  trusted: TrustedProxy,
  wanted: { user: string; password: string; totp?: string | undefined; ttlSeconds?: number | undefined },
): Promise<SignedIn> {
  const keys = await generateKeyPair()
  const publicKey = renderPublicKey(keys.publicKey)
  const issued = await createApiClient(trusted.carrier)(loginLocal, {
    user: wanted.user,
    password: wanted.password,
    totp: wanted.totp,
    ttl: wanted.ttlSeconds,
    public_key: publicKey,
    possession: signPossession(keys.privateKey, possessionChallenge('login', wanted.user, publicKey)),
  })
  return { issued, identity: identityOf(trusted, issued, renderPrivateKey(keys.privateKey)) }
}

/**
 * Signs in through the browser (RFC 8252 with PKCE, RFC 7636): the page ends at a loopback port of ours with a one-time code.
 * `showUrl` gets the page to open. After `timeoutMs`: `deadline_exceeded`.
 */
export async function signInWithBrowser(
  trusted: TrustedProxy,
  wanted: {
    user?: string | undefined
    /** By which to sign in elsewhere, without being asked. */
    connector?: string | undefined
    ttlSeconds?: number | undefined
    timeoutMs: number
    signal?: AbortSignal
  },
  showUrl: (url: string) => void,
): Promise<SignedIn> {
  const api = createApiClient(trusted.carrier)
  const keys = await generateKeyPair()
  const publicKey = renderPublicKey(keys.publicKey)
  const verifier = randomBytes(48).toString('base64url')
  const callback = await startCallbackListener(wanted)
  try {
    const started = await api(startBrowserLogin, {
      public_key: publicKey,
      possession: signPossession(keys.privateKey, possessionChallenge('browser-login', wanted.user ?? '', publicKey)),
      ttl: wanted.ttlSeconds,
      user: wanted.user,
      connector: wanted.connector,
      redirect_uri: callback.redirectUri,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    })
    showUrl(pageAt(trusted, started.path))
    const code = await callback.waitForCode(started.login_id)
    const issued = await api(finishBrowserLogin, { login_id: started.login_id, code, code_verifier: verifier })
    return { issued, identity: identityOf(trusted, issued, renderPrivateKey(keys.privateKey)) }
  } finally {
    callback.close()
  }
}

/** The connector that people of this cluster sign in by unless they choose; undefined where that is a password. */
export async function fetchDefaultConnector(trusted: TrustedProxy): Promise<string | undefined> {
  return (await createApiClient(trusted.carrier)(ping, {})).auth.default_connector
}

/** A page of the proxy itself: whatever else an answer may name (another site, another scheme) is not opened. */
function pageAt({ proxy }: TrustedProxy, path: string): string {
  const base = new URL(`https://${renderProxyAddress(proxy)}`)
  const page = URL.parse(path, base)
  if (page?.origin !== base.origin || page.username !== '' || page.password !== '')
    throw new AppError('unavailable', 'the proxy names a sign-in page that is not its own: use --auth=local, and tell its administrator')
  return page.href
}

/** The profile to keep of a sign-in. */
export function profileOf(trusted: TrustedProxy, { issued }: SignedIn): Profile {
  return {
    proxy: renderProxyAddress(trusted.proxy),
    cluster: issued.cluster_name,
    user: issued.user,
    roles: issued.roles,
    valid_until: issued.expires,
    ...(trusted.how === 'unchecked' ? { insecure: true } : {}),
  }
}

/** The sign-in as the text of an identity file. */
export function renderIdentity({ identity }: SignedIn): string {
  return renderIdentityFile(identity)
}

/** Over an unchecked connection the CAs are nobody's word: they are kept, for the next connection to be as unchecked as this one. */
function identityOf(trusted: TrustedProxy, issued: IssuedIdentity, privateKeyPem: string): IdentityFile {
  const authorityPems = [...new Set([...trusted.authorities, ...issued.host_authorities].map((pem) => `${pem.trim()}\n`))]
  return { privateKeyPem, certificatePem: issued.certificate, authorityPems }
}
