import { createPublicKey } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority } from '../../ca/authority.ts'
import type { Authority } from '../../ca/authority.ts'
import { issueIdentityCertificate } from '../../ca/identity-certificate.ts'
import { generateKeyPair, renderPrivateKey } from '../../ca/keys.ts'
import { AppError } from '../../lib/errors.ts'
import type { BotCluster, BotFacts, OwnIdentity, RefusedDestination } from './cluster.ts'
import type { DirectoryDependencies } from './directory-destination.ts'

export const SCRATCH_ACCOUNT = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

/** A directory of our own that `dispose` removes. */
export async function scratch(): Promise<{ path: string; dispose(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'tbot-test-'))
  return { path, dispose: () => rm(path, { recursive: true, force: true }) }
}

export function directoryDependencies(now: () => number = Date.now): DirectoryDependencies & { warnings: string[] } {
  const warnings: string[] = []
  const readers = {
    setAcl: async () => undefined,
    findGroup: async () => undefined,
    warn: (message: string) => void warnings.push(message),
  }
  return { ...SCRATCH_ACCOUNT, readers, now, warnings }
}

/** An Auth Service that keeps generations as the real one does: a certificate that was renewed already locks the instance. */
export class FakeCluster implements Pick<BotCluster, 'join' | 'renew' | 'issueOutput' | 'announce' | 'reportDestination'> {
  /** Set to make every call fail. */
  outage: AppError | undefined
  locked: AppError | undefined
  tokens = new Set(['secret-token'])
  joins = 0
  outputs = 0
  readonly announced: BotFacts[] = []
  readonly refused: RefusedDestination[] = []
  lastRoles: readonly string[] | undefined
  readonly #now: () => number
  readonly #host: Authority
  readonly #user: Authority
  #generation = 0
  #used = false

  constructor(now: () => number, host: Authority, user: Authority) {
    this.#now = now
    this.#host = host
    this.#user = user
  }

  static create(now: () => number, at: number): FakeCluster {
    const born = at - 365 * 86_400_000
    return new FakeCluster(now, createAuthority('host', 'test', born), createAuthority('user', 'test', born))
  }

  async join({ token }: { token: string }, { ttlSeconds }: { ttlSeconds: number }): Promise<OwnIdentity> {
    this.#check()
    if (!this.tokens.delete(token)) throw new AppError('permission_denied', 'the join token is not valid')
    this.joins++
    this.#generation = 1
    this.#used = false
    return await this.#own(ttlSeconds)
  }

  async renew(own: OwnIdentity, { ttlSeconds }: { ttlSeconds: number }): Promise<OwnIdentity> {
    this.#check()
    if (own.expiresAt <= this.#now()) throw new AppError('unauthenticated', 'the certificate expired')
    const isCurrent = own.generation === this.#generation
    if (!isCurrent && (this.#used || own.generation !== this.#generation - 1)) {
      this.locked = new AppError('permission_denied', 'a certificate of this bot was used that had been renewed already')
      throw this.locked
    }
    if (isCurrent) this.#generation++
    this.#used = false
    return await this.#own(ttlSeconds)
  }

  async announce(_own: OwnIdentity, facts: BotFacts): Promise<void> {
    this.#check()
    this.announced.push(facts)
  }

  async reportDestination(_own: OwnIdentity, refused: RefusedDestination): Promise<void> {
    this.refused.push(refused)
  }

  async issueOutput(own: OwnIdentity, wanted: Parameters<BotCluster['issueOutput']>[1]): ReturnType<BotCluster['issueOutput']> {
    this.#check()
    if (own.generation === this.#generation) this.#used = true
    this.outputs++
    this.lastRoles = wanted.roles
    return this.#issue(renderPrivateKey(wanted.privateKey), wanted.ttlSeconds)
  }

  async #own(ttlSeconds: number): Promise<OwnIdentity> {
    const key = renderPrivateKey((await generateKeyPair()).privateKey)
    return { ...this.#issue(key, ttlSeconds), name: 'bot-example', botInstanceId: 'i1', generation: this.#generation, renewable: true }
  }

  #issue(privateKeyPem: string, ttlSeconds: number) {
    const fields = { kind: 'bot' as const, name: 'bot-example', roles: ['access'], mfaVerified: false, botInstanceId: 'i1' }
    const issued = issueIdentityCertificate(this.#user, 'test', createPublicKey(privateKeyPem), fields, {
      now: this.#now(),
      ttlMs: ttlSeconds * 1000,
    })
    const hostAuthorities = [this.#host.certificatePem]
    return {
      identity: { privateKeyPem, certificatePem: issued.certificatePem, authorityPems: hostAuthorities },
      clusterName: 'test',
      expiresAt: issued.expiresAt,
      hostAuthorities,
      userAuthorities: [this.#user.certificatePem],
    }
  }

  #check(): void {
    if (this.outage) throw this.outage
    if (this.locked) throw this.locked
  }
}
