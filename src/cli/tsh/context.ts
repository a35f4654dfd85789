import type { Readable } from 'node:stream'
import type { Carrier } from '../../client/call.ts'
import type { Connection } from '../../client/credentials.ts'
import type { SignalSource } from '../../lib/command-line.ts'
import type { Invocation, Io } from '../../lib/command-rows.ts'

/** What the world outside is to tsh. */
export interface TshIo extends Io {
  stdin: Readable & { isTTY?: boolean }
  version?: string
  /** The words that start this program, for entries in the config of MCP clients. */
  launcher?: readonly string[]
  /** Where signals of the process arrive. */
  signals?: SignalSource
  now?: () => number
  /** Stands in for the connection to the cluster. */
  carrier?: Carrier
}

/** What every action gets. */
export interface Context {
  call: Invocation
  io: TshIo
  now: () => number
  /** With the credentials of this moment; the caller closes it. */
  connect(): Promise<Connection>
  /** Where answers of MCP servers are kept for this caller; undefined when there is no caller, or no such place. */
  findAnswerFolder(): Promise<string | undefined>
}

export interface Action {
  run(context: Context): Promise<number | void>
}

/** Loads an action only when its command runs. */
export function action(io: TshIo, load: () => Promise<Action>) {
  return async () => {
    const { run } = await load()
    return { run: (call: Invocation) => run(createContext(call, io)) }
  }
}

/** Runs `use` with a connection and closes it. */
export async function withConnection<T>(context: Context, use: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await context.connect()
  try {
    return await use(connection)
  } finally {
    connection.close()
  }
}

function createContext(call: Invocation, io: TshIo): Context {
  const now = io.now ?? Date.now
  return { call, io, now, connect, findAnswerFolder }

  function named() {
    return { identity: call.text('identity'), proxy: call.text('proxy'), env: io.env, now }
  }

  async function connect(): Promise<Connection> {
    const { fromCarrier, openConnection } = await import('../../client/credentials.ts')
    if (io.carrier) return fromCarrier(io.carrier)
    const insecure = call.flag('insecure')
    if (insecure) io.stderr.write('WARNING: you are using an insecure connection: nobody checks who the proxy is.\n')
    return await openConnection({ ...named(), insecure })
  }

  async function findAnswerFolder(): Promise<string | undefined> {
    if (io.carrier) return undefined
    const credentials = await import('../../client/credentials.ts')
    return await credentials.findAnswerFolder(named())
  }
}
