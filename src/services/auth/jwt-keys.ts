import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Signer, VerificationKey } from '../../ca/assertion.ts'
import { generateKeyPair, parsePrivateKey, parsePublicKey, renderPrivateKey, renderPublicKey } from '../../ca/keys.ts'
import type { Sealer } from '../../ca/sealed.ts'
import { AppError } from '../../lib/errors.ts'
import type { Executor } from '../../storage/database.ts'
import { findSecret, insertSecretIfAbsent, setSecret } from '../../storage/secrets.ts'
import { noteNewKeys } from './changes.ts'

const NAME = 'keys/jwt'
/** A new key is published this long before it signs: twice as long as our JWKS may be cached. */
export const JWT_KEY_LEAD_MS = 10 * 60_000
/** What a key signed is good for ten minutes; a clock may be behind. */
const KEPT_MS = 15 * 60_000
const MAX_KEYS = 4

const storedSchema = z.array(z.object({ public: z.string(), key: z.string(), signs_from: z.number() })).min(1)

interface JwtKey extends Signer, VerificationKey {
  /** Milliseconds since 1970. */
  signsFrom: number
}

/** The keys that sign what upstream MCP servers are told of their callers; there is always one that signs, and one may wait for its time. */
export class JwtKeys {
  readonly #sealer: Sealer
  readonly #now: () => number
  #keys: readonly JwtKey[]

  private constructor(sealer: Sealer, now: () => number, keys: readonly JwtKey[]) {
    this.#sealer = sealer
    this.#now = now
    this.#keys = keys
  }

  /** Those of the cluster, made at its first start. */
  static async open(db: Executor, sealer: Sealer, now: () => number): Promise<JwtKeys> {
    const sealed = (await findSecret(db, NAME)) ?? (await insertSecretIfAbsent(db, NAME, seal(sealer, [await makeKey(0)])))
    return new JwtKeys(sealer, now, openAll(sealer, sealed))
  }

  get signer(): Signer {
    const signing = this.#keys.findLast(({ signsFrom }) => signsFrom <= this.#now()) ?? this.#keys[0]
    if (!signing) throw new AppError('internal', 'the cluster has no key to sign JWTs with')
    return signing
  }

  /** Those that verify what is in use, and what will be. */
  get published(): VerificationKey[] {
    return this.#current(this.#keys).map(({ kid, publicKey }) => ({ kid, publicKey }))
  }

  /** Reads what another process may have made; what it returns puts them into use. */
  async read(db: Executor): Promise<() => void> {
    const sealed = await findSecret(db, NAME)
    const keys = sealed === undefined ? this.#keys : openAll(this.#sealer, sealed)
    return () => void (this.#keys = keys)
  }

  /**
   * Makes a new key, which is published at once and signs from the time returned (ms since 1970); the old one is forgotten when nothing it signed
   * is good any more. Within a transaction that `Changes` began; it is used once everybody has read it.
   */
  async rotate(tx: Executor): Promise<{ kid: string; signsFrom: number }> {
    const current = this.#current(this.#keys)
    if (current.length >= MAX_KEYS)
      throw new AppError('failed_precondition', 'the signing key was rotated several times just now: wait a quarter of an hour')
    const made = await makeKey(this.#now() + JWT_KEY_LEAD_MS)
    await setSecret(tx, NAME, seal(this.#sealer, [...current.map(renderKey), made]))
    await noteNewKeys({ now: this.#now }, tx)
    return openKey(made)
  }

  /** Without those that have had a successor for so long that nobody can hold anything they signed. */
  #current(keys: readonly JwtKey[]): JwtKey[] {
    return keys.filter((_, index) => {
      const successor = keys[index + 1]
      return !successor || successor.signsFrom + KEPT_MS > this.#now()
    })
  }
}

function openAll(sealer: Sealer, sealed: string): JwtKey[] {
  return storedSchema.parse(JSON.parse(sealer.open(sealed, NAME).toString())).map(openKey)
}

type StoredKey = z.infer<typeof storedSchema>[number]

async function makeKey(signsFrom: number): Promise<StoredKey> {
  const { publicKey, privateKey } = await generateKeyPair()
  return { public: renderPublicKey(publicKey), key: renderPrivateKey(privateKey), signs_from: signsFrom }
}

function openKey(stored: StoredKey): JwtKey {
  const publicKey = parsePublicKey(stored.public)
  const der = publicKey.export({ type: 'spki', format: 'der' })
  const kid = createHash('sha256').update(der).digest('base64url').slice(0, 22)
  return { kid, publicKey, privateKey: parsePrivateKey(stored.key), signsFrom: stored.signs_from }
}

function renderKey({ publicKey, privateKey, signsFrom }: JwtKey): StoredKey {
  return { public: renderPublicKey(publicKey), key: renderPrivateKey(privateKey), signs_from: signsFrom }
}

function seal(sealer: Sealer, keys: StoredKey[]): string {
  return sealer.seal(Buffer.from(JSON.stringify(keys)), NAME)
}
