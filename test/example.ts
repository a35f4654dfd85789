import { join } from 'node:path'
import { type Cluster, startCluster } from './cluster.ts'
import { type Ended, ROOT, runProgram, temporaryDirectory } from './programs.ts'
import { runTctl } from './tctl.ts'

/** An example of `examples`, with a cluster of its own to be tried on. */
export interface Example {
  cluster: Cluster
  /** Of a file of the example. */
  path(name: string): string
  /** For what the README has its reader write. */
  home: string
  /** The standard output of tctl, as the administrator of the machine. */
  tctl(...args: string[]): Promise<string>
  /** An API token of a new user with this role. */
  tokenOf(user: string, role: string): Promise<string>
  /** Runs its `client.mjs` to the end. */
  runClient(env: Readonly<Record<string, string>>): Promise<Ended>
  close(): Promise<void>
}

export async function startExample(name: string): Promise<Example> {
  const [cluster, home] = await Promise.all([startCluster(), temporaryDirectory()])
  const path = (file: string): string => join(ROOT, 'examples', name, file)
  const tctl = (...args: string[]): Promise<string> => runTctl(cluster.dataDirectory, ...args)
  return {
    cluster,
    path,
    home: home.path,
    tctl,
    tokenOf: async (user, role) => {
      await tctl('users', 'add', user, `--roles=${role}`)
      return /spt_\w+/.exec(await tctl('api-tokens', 'add', 'example', `--user=${user}`, '--ttl=1h'))?.[0] ?? ''
    },
    runClient: (env) => runProgram(process.execPath, [path('client.mjs')], { env }),
    close: async () => {
      await cluster.close()
      await home.dispose()
    },
  }
}
