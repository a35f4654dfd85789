import { X509Certificate } from 'node:crypto'
import { AppError } from '../lib/errors.ts'
import { parsePrivateKey } from './keys.ts'

/** What a client needs to be somebody: its key, its certificate, and the CAs it trusts, all PEM. */
export interface IdentityFile {
  privateKeyPem: string
  certificatePem: string
  authorityPems: string[]
}

const MAX_CHARACTERS = 1024 * 1024

/** One file: private key, certificate, CAs, in this order. The caller writes it with mode 0600. */
export function renderIdentityFile({ privateKeyPem, certificatePem, authorityPems }: IdentityFile): string {
  return [privateKeyPem, certificatePem, ...authorityPems].map((pem) => `${pem.trim()}\n`).join('')
}

/**
 * Reads an identity file, also one with SSH parts: lines outside PEM blocks are skipped, as are blocks of other kinds. The first
 * private key is the key, the first certificate the identity, all later certificates are CAs. A broken block, a missing part or a
 * key that does not fit the certificate throws `invalid_argument`, naming the place but never the content of a key.
 */
export function parseIdentityFile(text: string): IdentityFile {
  if (text.length > MAX_CHARACTERS) throw broken('it is too long to be one')
  const blocks = pemBlocks(text)
  const key = blocks.find((block) => block.label.endsWith('PRIVATE KEY'))
  const [identity, ...authorities] = blocks.filter((block) => block.label === 'CERTIFICATE')
  if (!key) throw broken('it holds no private key')
  if (!identity) throw broken('it holds no certificate')
  const privateKey = readBlock(key, parsePrivateKey)
  const certificate = readBlock(identity, (pem) => new X509Certificate(pem))
  for (const authority of authorities) readBlock(authority, (pem) => new X509Certificate(pem))
  if (!certificate.checkPrivateKey(privateKey)) throw broken('its private key does not belong to its certificate')
  return { privateKeyPem: key.pem, certificatePem: identity.pem, authorityPems: authorities.map((authority) => authority.pem) }
}

interface PemBlock {
  label: string
  /** 1-based line of its BEGIN. */
  line: number
  pem: string
}

function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = []
  let open: { label: string; line: number; lines: string[] } | undefined
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    const [, edge, label = ''] = line.match(/^-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----$/) ?? []
    if (edge === 'BEGIN' && !open) {
      open = { label, line: index + 1, lines: [line] }
    } else if (open) {
      open.lines.push(line)
      if (edge && (edge === 'BEGIN' || label !== open.label)) throw brokenBlock(open)
      if (!edge) continue
      blocks.push({ label, line: open.line, pem: `${open.lines.join('\n')}\n` })
      open = undefined
    }
  }
  if (open) throw brokenBlock(open)
  return blocks
}

function readBlock<T>(block: PemBlock, read: (pem: string) => T): T {
  try {
    return read(block.pem)
  } catch (cause) {
    throw brokenBlock(block, cause)
  }
}

function brokenBlock({ label, line }: { label: string; line: number }, cause?: unknown): AppError {
  const hint = cause instanceof AppError ? ` (${cause.message})` : ''
  return broken(`the block "-----BEGIN ${label}-----" at line ${line} is damaged${hint}`, cause)
}

function broken(reason: string, cause?: unknown): AppError {
  return new AppError(
    'invalid_argument',
    `the identity file cannot be used: ${reason}; get a new one with tctl auth sign or tsh login --out`,
    {
      cause,
    },
  )
}
