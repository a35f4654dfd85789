import { BACKDATE_MS } from '../../ca/authority.ts'
import { issueCertificate } from '../../ca/certificate.ts'
import { generateKeyPair, renderPrivateKey } from '../../ca/keys.ts'
import type { AuthContext } from './context.ts'

const SERVER_CERTIFICATE_MS = 90 * 86_400_000

/** A certificate of the host CA for a server with these names, with a fresh key, as PEM; `notAfter` in ms since 1970. */
export async function issueServerCertificate({ clusterName, keys, now, random }: AuthContext, names: { dns: string[]; ip: string[] }) {
  const pair = await generateKeyPair()
  const notAfter = now() + SERVER_CERTIFICATE_MS
  const cert = issueCertificate({
    subject: { commonName: names.dns[0] ?? names.ip[0] ?? clusterName, organization: [clusterName] },
    publicKey: pair.publicKey,
    issuer: keys.host,
    notBefore: now() - BACKDATE_MS,
    notAfter,
    usage: 'server',
    names,
    serial: random(16),
  })
  return { key: renderPrivateKey(pair.privateKey), cert, notAfter }
}
