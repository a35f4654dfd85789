import type { Readable } from 'node:stream'
import type { ApiClient, Carrier } from '../../client/call.ts'
import type { SignalSource } from '../../lib/command-line.ts'
import type { Invocation, Io } from '../../lib/command-rows.ts'

/** What the world outside is to tctl. */
export interface TctlIo extends Io {
  stdin: Readable & { isTTY?: boolean }
  version?: string
  signals?: SignalSource
  now?: () => number
  /** Stands in for the connection to the cluster. */
  carrier?: Carrier
}

/** What every action gets. */
export interface Context {
  call: Invocation
  io: TctlIo
  now: () => number
  /** Runs `use` with the administrator's credentials; the connection is closed after it. */
  withApi<T>(use: (api: ApiClient) => Promise<T>): Promise<T>
}

export interface Action {
  run(context: Context): Promise<number | void>
}

/** Loads an action only when its command runs. */
export function action(io: TctlIo, load: () => Promise<Action>) {
  return async () => {
    const { run } = await load()
    return { run: (call: Invocation) => run(createContext(call, io)) }
  }
}

function createContext(call: Invocation, io: TctlIo): Context {
  const now = io.now ?? Date.now
  return {
    call,
    io,
    now,
    async withApi(use) {
      const { fromCarrier, openConnection } = await import('../../client/credentials.ts')
      const insecure = call.flag('insecure')
      if (insecure) io.stderr.write('WARNING: you are using an insecure connection: nobody checks who the server is.\n')
      const local = { dataDirectory: call.text('data-dir'), configFile: call.text('config') }
      const proxy = call.text('auth-server') ?? call.text('proxy')
      const connection = io.carrier
        ? fromCarrier(io.carrier)
        : await openConnection({ identity: call.text('identity'), proxy, insecure, local, env: io.env, now })
      try {
        return await use(connection.api)
      } finally {
        connection.close()
      }
    },
  }
}
