import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Signer, VerificationKey } from '../../ca/assertion.ts'
import { generateKeyPair, parsePrivateKey, parsePublicKey, renderPrivateKey, renderPublicKey } from '../../ca/keys.ts'
import type { Sealer } from '../../ca/sealed.ts'
import { AppError } from '../../lib/errors.ts'
import type { Executor } from '../../storage/database.ts'
import { findSecret, insertSecretIfAbsent, setSecret } from '../../storage/secrets.ts'

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
  readonly #db: Executor
  readonly #sealer: Sealer
  readonly #now: () => number
  #keys: JwtKey[]

  private constructor(db: Executor, sealer: Sealer, now: () => number, keys: JwtKey[]) {
    this.#db = db
    this.#sealer = sealer
    this.#now = now
    this.#keys = keys
  }

  /** Those of the cluster, made at its first start. */
  static async open(db: Executor, sealer: Sealer, now: () => number): Promise<JwtKeys> {
    const sealed = (await findSecret(db, NAME)) ?? (await insertSecretIfAbsent(db, NAME, seal(sealer, [await makeKey(0)])))
    return new JwtKeys(db, sealer, now, storedSchema.parse(JSON.parse(sealer.open(sealed, NAME).toString())).map(openKey))
  }

  get signer(): Signer {
    const signing = this.#keys.findLast(({ signsFrom }) => signsFrom <= this.#now()) ?? this.#keys[0]
    if (!signing) throw new AppError('internal', 'the cluster has no key to sign JWTs with')
    return signing
  }

  /** Those that verify what is in use, and what will be. */
  get published(): VerificationKey[] {
    return this.#current().map(({ kid, publicKey }) => ({ kid, publicKey }))
  }

  /** Makes a new key, which is published at once and signs from the time returned (ms since 1970); the old one is forgotten when nothing it signed is good any more. */
  async rotate(): Promise<{ kid: string; signsFrom: number }> {
    const current = this.#current()
    if (current.length >= MAX_KEYS)
      throw new AppError('failed_precondition', 'the signing key was rotated several times just now: wait a quarter of an hour')
    const made = await makeKey(this.#now() + JWT_KEY_LEAD_MS)
    const stored = [...current.map(renderKey), made]
    await setSecret(this.#db, NAME, seal(this.#sealer, stored))
    this.#keys = stored.map(openKey)
    return openKey(made)
  }

  /** Without those that have had a successor for so long that nobody can hold anything they signed. */
  #current(): JwtKey[] {
    return this.#keys.filter((_, index) => {
      const successor = this.#keys[index + 1]
      return !successor || successor.signsFrom + KEPT_MS > this.#now()
    })
  }
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
