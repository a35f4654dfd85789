import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:https'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { createAuthority } from '../../src/ca/authority.ts'
import { issueCertificate } from '../../src/ca/certificate.ts'
import { generateKeyPair, renderPrivateKey } from '../../src/ca/keys.ts'

/** An https server of this machine, at 127.0.0.1 and under other names, that this process trusts. */
export interface DocumentServer {
  /** `https://127.0.0.1:PORT`. */
  url: string
  /** PEM. */
  authority: string
  /** Paths that were asked for. */
  seen: string[]
  answer: RequestListener
  close(): Promise<void>
}

export async function startDocumentServer(names: readonly string[] = []): Promise<DocumentServer> {
  const now = Date.now()
  const authority = createAuthority('host', 'documents', now)
  const pair = await generateKeyPair()
  const cert = issueCertificate({
    subject: { commonName: 'localhost', organization: ['documents'] },
    publicKey: pair.publicKey,
    issuer: authority,
    notBefore: now - 60_000,
    notAfter: now + 3_600_000,
    usage: 'server',
    names: { dns: ['localhost', ...names], ip: ['127.0.0.1'] },
    serial: new Uint8Array(16).fill(3),
  })
  setDefaultCACertificates([...getCACertificates('default'), authority.certificatePem])
  const documents: DocumentServer = {
    url: '',
    authority: authority.certificatePem,
    seen: [],
    answer: (_, response) => void response.writeHead(404).end(),
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  const server = createServer({ key: renderPrivateKey(pair.privateKey), cert }, (request, response) => {
    documents.seen.push(request.url ?? '')
    documents.answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  documents.url = `https://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  return documents
}
