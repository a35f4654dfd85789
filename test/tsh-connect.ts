import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import type { Cluster } from './cluster.ts'
import { bin } from './programs.ts'

/** How an MCP client starts `tsh mcp connect` with an identity file, for the stdio transports of both SDK generations. */
export function tshConnect(cluster: Pick<Cluster, 'url'>, identity: string, server: string) {
  return {
    command: bin('tsh'),
    args: ['mcp', 'connect', '-i', identity, `--proxy=${cluster.url.slice('http://'.length)}`, server],
    env: { PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`, HOME: tmpdir() },
    stderr: 'ignore' as const,
  }
}
