import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/** What can be said wrongly. */
export interface Lies {
  origin?: string
  rpId?: string
  /** Whether it asked for a finger. */
  verified?: boolean
  /** Whether somebody was there at all. */
  present?: boolean
  counter?: number
  userHandle?: string | undefined
  challenge?: string
  type?: string
  credentialId?: string
  crossOrigin?: boolean
  /** Signs something else. */
  wrongSignature?: boolean
}

interface Asked {
  challenge: string
  user?: { id: string }
}

const PRESENT = 0x01
const VERIFIED = 0x04
const ATTESTED = 0x40

/** A passkey in memory that can lie in every part of its answers (WebAuthn Level 3, section 6). */
export class SoftwarePasskey {
  readonly credentialId = randomBytes(32).toString('base64url')
  counter = 0
  #userHandle: string | undefined
  readonly #origin: string
  readonly #privateKey: KeyObject
  readonly #publicKey: KeyObject

  constructor(origin: string) {
    this.#origin = origin
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#privateKey = privateKey
    this.#publicKey = publicKey
  }

  /** What `navigator.credentials.create` would answer. */
  create({ challenge, user }: Asked, lies: Lies = {}): string {
    this.#userHandle = user?.id
    const id = Buffer.from(lies.credentialId ?? this.credentialId, 'base64url')
    const attested = Buffer.concat([Buffer.alloc(16), Buffer.from([id.length >> 8, id.length & 0xff]), id, this.#coseKey()])
    const authData = Buffer.concat([this.#head(lies, ATTESTED), attested])
    const attestationObject = Buffer.concat([
      Buffer.from([0xa3]),
      text('fmt'),
      text('none'),
      text('attStmt'),
      Buffer.from([0xa0]),
      text('authData'),
      bytes(authData),
    ])
    return this.#answer(lies, {
      clientDataJSON: this.#clientData(lies.type ?? 'webauthn.create', challenge, lies),
      attestationObject: attestationObject.toString('base64url'),
      transports: ['internal'],
    })
  }

  /** What `navigator.credentials.get` would answer. */
  get({ challenge }: Asked, lies: Lies = {}): string {
    const authData = this.#head({ counter: (this.counter += 1), ...lies }, 0)
    const clientDataJSON = this.#clientData(lies.type ?? 'webauthn.get', challenge, lies)
    const signed = Buffer.concat([authData, createHash('sha256').update(Buffer.from(clientDataJSON, 'base64url')).digest()])
    return this.#answer(lies, {
      clientDataJSON,
      authenticatorData: authData.toString('base64url'),
      signature: sign('sha256', lies.wrongSignature ? randomBytes(64) : signed, this.#privateKey).toString('base64url'),
      userHandle: 'userHandle' in lies ? lies.userHandle : this.#userHandle,
    })
  }

  #answer(lies: Lies, response: object): string {
    const id = lies.credentialId ?? this.credentialId
    return JSON.stringify({ id, rawId: id, type: 'public-key', response, clientExtensionResults: {} })
  }

  #head({ rpId = new URL(this.#origin).hostname, verified = true, present = true, counter = 0 }: Lies, more: number): Buffer {
    const head = Buffer.alloc(37)
    createHash('sha256').update(rpId).digest().copy(head)
    head[32] = (present ? PRESENT : 0) | (verified ? VERIFIED : 0) | more
    head.writeUInt32BE(counter, 33)
    return head
  }

  #clientData(type: string, challenge: string, lies: Lies): string {
    const { origin = this.#origin, crossOrigin = false } = lies
    return Buffer.from(JSON.stringify({ type, challenge: lies.challenge ?? challenge, origin, crossOrigin })).toString('base64url')
  }

  /** EC2, ES256 (RFC 9053). */
  #coseKey(): Buffer {
    const { x = '', y = '' } = this.#publicKey.export({ format: 'jwk' })
    const head = Buffer.from([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21])
    return Buffer.concat([head, bytes(Buffer.from(x, 'base64url')), Buffer.from([0x22]), bytes(Buffer.from(y, 'base64url'))])
  }
}

/** CBOR (RFC 8949), as far as it is needed. */
function text(word: string): Buffer {
  return Buffer.concat([Buffer.from([0x60 | word.length]), Buffer.from(word)])
}

function bytes(content: Buffer): Buffer {
  return Buffer.concat([
    content.length < 256 ? Buffer.from([0x58, content.length]) : Buffer.from([0x59, content.length >> 8, content.length & 0xff]),
    content,
  ])
}
