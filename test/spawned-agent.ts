import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cluster } from './cluster.ts'
import { bin, type Started, startProgram, temporaryDirectory } from './programs.ts'

export interface SpawnedAgent extends Started {
  dataDirectory: string
  close(): Promise<void>
}

/** An agent in a process of its own, which joins the cluster with a token of its own: one that can be killed and frozen. */
export async function spawnAgent(cluster: Cluster): Promise<SpawnedAgent> {
  const { path, dispose } = await temporaryDirectory()
  const dataDirectory = join(path, 'data')
  const token = `token-of-${path.split('-').at(-1) ?? ''}`
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: token }, spec: { roles: ['App'] } })
  await mkdir(dataDirectory, { mode: 0o700 })
  const config = {
    version: 'v3',
    teleport: {
      proxy_server: `127.0.0.1:${cluster.running.address.port}`,
      join_params: { method: 'token', token_name: token },
      data_dir: dataDirectory,
    },
    auth_service: { enabled: 'no' },
    proxy_service: { enabled: 'no' },
    app_service: { enabled: 'yes', resources: [{ labels: { '*': '*' } }] },
  }
  await writeFile(join(path, 'sallyport.yaml'), JSON.stringify(config))
  const started = startProgram(bin('sallyport'), ['start', '-c', join(path, 'sallyport.yaml')])
  return {
    ...started,
    dataDirectory,
    close: async () => {
      started.kill('SIGKILL')
      await started.ended
      await dispose()
    },
  }
}
