import { createConnection } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { readTextIfPresent } from '../lib/atomic-file.ts'
import { AppError } from '../lib/errors.ts'
import { stateDirectory } from '../lib/paths.ts'
import type { Environment } from '../lib/paths.ts'
import { localSocketPath } from './local-carrier.ts'

export interface LocalOptions {
  dataDirectory?: string | undefined
  /** A `sallyport.yaml`; its `data_dir` counts. */
  configFile?: string | undefined
}

/**
 * The data directory of an Auth Service on this machine. One that is named, by option or config file, is taken as it is; the default
 * (`SALLYPORT_HOME`, else the XDG state folder) only when one listens there.
 */
export async function findLocalDataDirectory(options: LocalOptions, env: Environment): Promise<string | undefined> {
  if (options.dataDirectory) return options.dataDirectory
  if (options.configFile) return (await dataDirectoryOf(options.configFile)) ?? defaultDataDirectory(env)
  const usual = defaultDataDirectory(env)
  return (await isListening(localSocketPath(usual))) ? usual : undefined
}

/** Whether somebody accepts connections there and lets us in; a socket can outlive its process. */
function isListening(socketPath: string): Promise<boolean> {
  return new Promise((fulfil) => {
    const socket = createConnection(socketPath)
    const end = (answer: boolean) => {
      socket.destroy()
      fulfil(answer)
    }
    socket.setTimeout(2000, () => end(false))
    socket.on('connect', () => end(true))
    socket.on('error', () => end(false))
  })
}

/** Where `sallyport start` keeps its state unless told otherwise. */
function defaultDataDirectory(env: Environment): string {
  return env['SALLYPORT_HOME'] || join(stateDirectory(env, 'sallyport'), 'data')
}

async function dataDirectoryOf(configFile: string): Promise<string | undefined> {
  const text = await readTextIfPresent(configFile)
  if (text === undefined) throw new AppError('invalid_argument', `there is no config file ${configFile}`)
  const { parseYamlDocuments } = await import('../lib/yaml.ts')
  const root = parseYamlDocuments(text, configFile)[0]?.value
  for (const section of [root, member(root, 'sallyport'), member(root, 'teleport')]) {
    const directory = member(section, 'data_dir')
    if (typeof directory === 'string') return resolve(dirname(configFile), directory)
  }
  return undefined
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined
}
