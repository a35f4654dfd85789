import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate that vouches for itself, and its key, in PEM. */
export interface SelfSigned {
  key: string
  cert: string
}

/** For localhost, one for each name; undefined without openssl. */
export function selfSigned(...names: string[]): SelfSigned[] | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-tunnel-'))
  try {
    return names.map((name) => {
      const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)]
      const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${name}`
      const files = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert]
      execFileSync('openssl', [...request.split(' '), ...files], { stdio: 'ignore' })
      return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    })
  } catch (error) {
    console.warn(`TLS tests are skipped, openssl cannot be started: ${String(error)}`)
    return undefined
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
