import { createPublicKey } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { type IdentityFile, parseIdentityFile, renderIdentityFile } from '../../ca/identity-file.ts'
import { renderPublicKey } from '../../ca/keys.ts'
import { type ApiClient, createApiClient } from '../../client/call.ts'
import { AUTH_ALPN, createHttpsCarrier } from '../../client/https-carrier.ts'
import { joinCluster, type Joined, type JoinTarget, renewalDue, renewIdentity } from '../../client/join.ts'
import { proofOf, type ReadSource } from '../../client/join-source.ts'
import { createProxyHttp, type ProxyHttp } from '../../client/proxy-http.ts'
import { createAnyProxyHttp, isOfNetwork } from '../../client/any-proxy-http.ts'
import { type ProxyAddress, renderProxyAddress } from '../../client/proxy-address.ts'
import { ensurePrivateDirectory, readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { type Code, AppError, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { openBoundKey, saveBoundKey } from './bound-key.ts'

export interface EnrolmentOptions {
  /** Of the service alone; made with mode 0700. */
  directory: string
  target: Omit<JoinTarget, 'authorities'>
  /** Other proxies of the cluster, for when that one cannot be reached. */
  otherProxies?: () => readonly ProxyAddress[]
  role: 'App' | 'Db'
  hostname: string
  version: string
  /** What lets this host join, read anew for each time; undefined where none is configured. */
  findProof(): Promise<ReadSource | undefined>
  /** Milliseconds since 1970. */
  now: () => number
  /** Runs something once, after so many ms, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
  /** From 0 to 1. */
  random: () => number
  log: Logger
}

const FILE = 'host.json'
const CHECK_MS = 30_000
const FIRST_PAUSE_MS = 1000
const MAX_PAUSE_MS = 60_000
/** Calls under way may end on connections of the certificate before. */
const OLD_CONNECTIONS_MS = 60_000
/** What another try cannot mend. */
const FINAL: ReadonlySet<Code> = new Set([
  'permission_denied',
  'unauthenticated',
  'failed_precondition',
  'invalid_argument',
  'unimplemented',
])

const stateSchema = z.object({
  host_id: z.string(),
  cluster_name: z.string(),
  issued_at: z.number(),
  expires_at: z.number(),
  identity: z.string(),
})

interface Enrolled {
  hostId: string
  clusterName: string
  issuedAt: number
  expiresAt: number
  identity: IdentityFile
}

/** This host as a member of a cluster: joins, keeps its certificate, renews it in time, and calls the Auth Service with it. */
export class Enrolment {
  readonly #options: EnrolmentOptions
  #enrolled: Enrolled
  #http: ProxyHttp
  #isRenewing = false
  #failures = 0
  #retryAt = 0
  #cancel: () => void

  /**
   * Loads the certificate of before, or joins. While the proxy cannot be reached it tries again, until the signal fires.
   * @throws AppError with what to do when this host may not join.
   */
  static async open(options: EnrolmentOptions, signal: AbortSignal): Promise<Enrolment> {
    await ensurePrivateDirectory(options.directory)
    const kept = await load(options.directory)
    const isCurrent = kept && kept.expiresAt > options.now()
    return new Enrolment(options, isCurrent ? kept : await joinPatiently(options, kept, signal))
  }

  private constructor(options: EnrolmentOptions, enrolled: Enrolled) {
    this.#options = options
    this.#enrolled = enrolled
    this.#http = connect(options, enrolled)
    this.#cancel = this.#schedule()
  }

  get hostId(): string {
    return this.#enrolled.hostId
  }

  get clusterName(): string {
    return this.#enrolled.clusterName
  }

  /** As it is now. */
  get identity(): IdentityFile {
    return this.#enrolled.identity
  }

  /** To the proxy, with the certificate of now, by the protocol of the Auth Service. */
  get http(): ProxyHttp {
    return this.#http
  }

  /** The Auth Service, called with the certificate of now. */
  readonly api: ApiClient = (route, input) => createApiClient(createHttpsCarrier(this.#http))(route, input)

  close(): void {
    this.#cancel()
    this.#http.close()
  }

  /** Looks again and again: a machine that slept does not know how late it is. */
  #schedule(): () => void {
    const { issuedAt, expiresAt } = this.#enrolled
    return this.#options.after(Math.min(CHECK_MS, (expiresAt - issuedAt) / 10), () => {
      void this.#check().finally(() => (this.#cancel = this.#schedule()))
    })
  }

  /** Never rejects: what fails is tried again. */
  async #check(): Promise<void> {
    const { now, log } = this.#options
    const { issuedAt, expiresAt } = this.#enrolled
    if (this.#isRenewing || now() < this.#retryAt || !renewalDue(issuedAt, expiresAt, now())) return
    this.#isRenewing = true
    try {
      await this.#renew()
      this.#failures = 0
    } catch (thrown) {
      const pause = pauseAfter(this.#failures, this.#options.random())
      this.#failures += 1
      this.#retryAt = now() + pause
      const error = toAppError(thrown)
      log.warn('the certificate of this host could not be renewed: trying again', { error, expires: new Date(expiresAt).toISOString() })
    } finally {
      this.#isRenewing = false
    }
  }

  async #renew(): Promise<void> {
    const { hostname, version, now, directory, after } = this.#options
    const isOver = this.#enrolled.expiresAt <= now()
    const joined = isOver ? await joinOnce(this.#options, this.#enrolled) : await renewIdentity(this.api, { hostname, version }, { now })
    const enrolled = enrolledOf(joined, now())
    await keep(directory, enrolled)
    const before = this.#http
    this.#enrolled = enrolled
    this.#http = connect(this.#options, enrolled)
    after(OLD_CONNECTIONS_MS, () => before.close())
    this.#options.log.info('the certificate of this host was renewed', { expires: new Date(enrolled.expiresAt).toISOString() })
  }
}

function connect(options: EnrolmentOptions, { identity }: Enrolled): ProxyHttp {
  const open = (proxy: ProxyAddress): ProxyHttp =>
    createProxyHttp({
      proxy,
      authorities: identity.authorityPems,
      insecure: options.target.insecure,
      alpn: AUTH_ALPN,
      credentials: { key: identity.privateKeyPem, certificate: identity.certificatePem },
    })
  return createAnyProxyHttp(() => proxiesOf(options), open)
}

function proxiesOf({ target, otherProxies }: EnrolmentOptions): ProxyAddress[] {
  return [target.proxy, ...(otherProxies?.() ?? [])]
}

async function joinPatiently(options: EnrolmentOptions, kept: Enrolled | undefined, signal: AbortSignal): Promise<Enrolled> {
  for (let failures = 0; ; failures++) {
    try {
      const enrolled = enrolledOf(await joinOnce(options, kept), options.now())
      await keep(options.directory, enrolled)
      return enrolled
    } catch (thrown) {
      const error = toAppError(thrown)
      if (FINAL.has(error.code) || error.code === 'internal' || signal.aborted) throw error
      const pause = pauseAfter(failures, options.random())
      options.log.warn('this host could not join: trying again', {
        proxy: renderProxyAddress(options.target.proxy),
        error,
        retry_in_ms: Math.round(pause),
      })
      await wait(options, pause, signal)
      if (signal.aborted) throw new AppError('cancelled', 'stopped before this host had joined')
    }
  }
}

async function joinOnce(options: EnrolmentOptions, kept: Enrolled | undefined): Promise<Joined> {
  const { target, role, hostname, version, now, directory } = options
  const proof = await options.findProof()
  if (!proof) throw new AppError('failed_precondition', `${standing(kept)}: no join token is configured. ${REMEDY}`)
  const bound = proof.method === 'bound_keypair' ? await openBoundKey(directory) : undefined
  // An administrator may have to name it in the join token.
  if (bound && !kept)
    options.log.info('this host joins by its key pair', { public_key: renderPublicKey(createPublicKey(bound.privateKey)) })
  const previous = kept && { hostId: kept.hostId, previous: kept.identity }
  try {
    const authorities = kept?.identity.authorityPems ?? []
    const sent = proofOf(proof, bound)
    const joined = await joinAny(proxiesOf(options), (proxy) =>
      joinCluster({ ...target, proxy, authorities }, { role, hostname, version, ...previous }, sent, { now }),
    )
    // Before it is used: a state that comes twice counts as that of a copy.
    if (bound && joined.joinState !== undefined) await saveBoundKey(directory, { ...bound, joinState: joined.joinState })
    return joined
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.code !== 'permission_denied') throw error
    const refusal = error.message.replace(/^the join was refused: /, '')
    throw new AppError('permission_denied', `${standing(kept)}, and joining was refused: ${refusal}. ${REMEDY}`, { cause: error })
  }
}

/** By the first proxy that can be reached. */
async function joinAny(proxies: readonly ProxyAddress[], join: (proxy: ProxyAddress) => Promise<Joined>): Promise<Joined> {
  const [proxy, ...others] = proxies
  if (!proxy) throw new AppError('internal', 'no proxy is known')
  return await join(proxy).catch((thrown: unknown) => {
    if (!isOfNetwork(thrown) || others.length === 0) throw thrown
    return joinAny(others, join)
  })
}

const REMEDY =
  'Make a token on the host of the Auth Service with "tctl tokens add --type=app", and give it as teleport.join_params.token_name or with --token'

function standing(kept: Enrolled | undefined): string {
  if (!kept) return 'this host has not joined yet'
  return `the certificate of this host expired at ${new Date(kept.expiresAt).toISOString()}`
}

function enrolledOf({ name, clusterName, expiresAt, identity }: Joined, now: number): Enrolled {
  return { hostId: name, clusterName, issuedAt: now, expiresAt, identity }
}

async function load(directory: string): Promise<Enrolled | undefined> {
  const path = join(directory, FILE)
  const text = await readTextIfPresent(path)
  if (text === undefined) return undefined
  try {
    const state = stateSchema.parse(JSON.parse(text))
    return {
      hostId: state.host_id,
      clusterName: state.cluster_name,
      issuedAt: state.issued_at,
      expiresAt: state.expires_at,
      identity: parseIdentityFile(state.identity),
    }
  } catch (cause) {
    throw new AppError('failed_precondition', `${path} is damaged: remove it, and this host joins anew with its token`, { cause })
  }
}

async function keep(directory: string, { hostId, clusterName, issuedAt, expiresAt, identity }: Enrolled): Promise<void> {
  const state: z.infer<typeof stateSchema> = {
    host_id: hostId,
    cluster_name: clusterName,
    issued_at: issuedAt,
    expires_at: expiresAt,
    identity: renderIdentityFile(identity),
  }
  await writeFileAtomic(join(directory, FILE), `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 })
}

function pauseAfter(failures: number, random: number): number {
  return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10)) * (0.5 + random / 2)
}

function wait({ after }: EnrolmentOptions, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = after(ms, done)
    signal.addEventListener('abort', done, { once: true })
  })
}
