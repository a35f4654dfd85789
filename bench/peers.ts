import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Children, freePort } from './children.ts'

/** Gateways of others from npm: not part of this project, fetched only when asked for. */
const PEERS = { 'mcp-proxy': '6.7.19', supergateway: '4.0.0' }
const FOLDER = join(import.meta.dirname, '.peers')

export type PeerName = keyof typeof PEERS

export const PEER_NAMES: readonly PeerName[] = ['mcp-proxy', 'supergateway']

export function arePeersInstalled(): boolean {
  return PEER_NAMES.every((name) => existsSync(programOf(name)))
}

/** Fetches them from the registry, without running their install scripts. */
export function installPeers(): void {
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(join(FOLDER, 'package.json'), '{"private":true}\n')
  const packages = PEER_NAMES.map((name) => `${name}@${PEERS[name]}`)
  process.stderr.write(`fetching ${packages.join(' and ')} into ${FOLDER}\n`)
  execFileSync('npm', ['install', '--prefix', FOLDER, '--ignore-scripts', '--no-audit', '--no-fund', ...packages], { stdio: 'ignore' })
}

function programOf(name: PeerName): string {
  return join(FOLDER, 'node_modules', '.bin', name)
}

/** One of them before the stdio echo server, with sessions. */
export async function startPeer(children: Children, name: PeerName, directory: string): Promise<{ pid: number; port: number }> {
  const port = await freePort()
  const echo = [process.execPath, join(import.meta.dirname, 'upstream-stdio.ts')]
  const args = {
    'mcp-proxy': ['--server', 'stream', '--host', '127.0.0.1', '--port', String(port), '--', ...echo],
    supergateway: [
      '--stdio',
      echo.join(' '),
      '--outputTransport',
      'streamableHttp',
      '--stateful',
      '--sessionTimeout',
      '60000',
      '--logLevel',
      'none',
      '--port',
      String(port),
    ],
  }[name]
  const child = await children.spawnListening(process.execPath, [programOf(name), ...args], {
    port,
    logFile: join(directory, `${name}.log`),
  })
  return { pid: child.pid ?? 0, port }
}
