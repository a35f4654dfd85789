import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Children } from './children.ts'
import type { Target } from './trial.ts'
import { CARRIERS } from './tunnel-carrier.ts'

/** An agent for each way to carry exchanges to it; the load generator is the proxy's end. */
export async function startTunnels(children: Children, directory: string): Promise<Target[]> {
  const token = createCertificate(directory)
  const more = { token, tool: 'search_documents', generator: 'tunnel-load.ts' }
  return Promise.all(
    CARRIERS.map(async (name) => ({ name, path: name, ...more, ...(await children.forkServer('tunnel-agent.ts', [name, token])) })),
  )
}

function createCertificate(directory: string): string {
  const [key, cert, both] = [join(directory, 'tunnel.key'), join(directory, 'tunnel.crt'), join(directory, 'tunnel.pem')]
  const request =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench -addext subjectAltName=DNS:localhost'
  execFileSync('openssl', [...request.split(' '), '-keyout', key, '-out', cert], { stdio: 'ignore' })
  writeFileSync(both, readFileSync(key, 'utf8') + readFileSync(cert, 'utf8'))
  return both
}
