import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { type Ended, runProgram, type Started, startProgram } from '../programs.ts'

const exec = promisify(execFile)

/** A machine of its own as far as its network is concerned, and with accounts of its own. */
export interface Host {
  name: string
  start(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): Started
  run(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>
}

export interface Network {
  /** Auth Service and proxy: 10.231.1.1 for the agent, 10.231.2.1 for the client. */
  server: Host
  /** 10.231.1.2; nobody has a route to it but the server. */
  agent: Host
  /** 10.231.2.2 */
  client: Host
  /** Takes the link between agent and server down, or up again. */
  setAgentLink(state: 'up' | 'down'): Promise<void>
  close(): Promise<void>
}

/** Why three hosts cannot be made here; undefined when they can. */
export async function findObstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'network namespaces are of Linux'
  if (process.getuid?.() !== 0) return 'only root may make network namespaces'
  const probe = `sp-probe-${process.pid}`
  try {
    await exec('ip', ['netns', 'add', probe])
    await exec('ip', ['netns', 'del', probe])
    return undefined
  } catch (thrown) {
    return `ip netns does not work here: ${String(thrown)}`
  }
}

/** @param accounts lines of passwd(5) that the agent's host has beside those of this machine. */
export async function makeNetwork(accounts: readonly string[]): Promise<Network> {
  const id = process.pid.toString(36)
  const names = { server: `sp-s-${id}`, agent: `sp-a-${id}`, client: `sp-c-${id}` }
  const ip = (...args: string[]) => exec('ip', args)
  const within = (name: string, ...args: string[]) => ip('netns', 'exec', name, 'ip', ...args)
  const link = async (other: string, prefix: string): Promise<void> => {
    const [here, there] = [`v${prefix}s${id}`, `v${prefix}o${id}`]
    await ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there)
    await ip('link', 'set', here, 'netns', names.server)
    await ip('link', 'set', there, 'netns', other)
    await within(names.server, 'addr', 'add', `10.231.${prefix}.1/24`, 'dev', here)
    await within(other, 'addr', 'add', `10.231.${prefix}.2/24`, 'dev', there)
    await within(names.server, 'link', 'set', here, 'up')
    await within(other, 'link', 'set', there, 'up')
  }
  const close = async (): Promise<void> => {
    for (const name of Object.values(names)) await ip('netns', 'del', name).catch(() => undefined)
    await rm(`/etc/netns/${names.agent}`, { recursive: true, force: true })
  }
  try {
    for (const name of Object.values(names)) {
      await ip('netns', 'add', name)
      await within(name, 'link', 'set', 'lo', 'up')
    }
    await link(names.agent, '1')
    await link(names.client, '2')
    // `ip netns exec` puts what is here in the place of the files of /etc.
    await mkdir(`/etc/netns/${names.agent}`, { recursive: true })
    await writeFile(`/etc/netns/${names.agent}/passwd`, `${(await readFile('/etc/passwd', 'utf8')).trimEnd()}\n${accounts.join('\n')}\n`)
  } catch (thrown) {
    await close()
    throw thrown
  }
  const hostOf = (name: string): Host => ({
    name,
    start: (command, args, env = {}) => startProgram('ip', ['netns', 'exec', name, command, ...args], { env }),
    run: (command, args, env = {}) => runProgram('ip', ['netns', 'exec', name, command, ...args], { env }),
  })
  return {
    server: hostOf(names.server),
    agent: hostOf(names.agent),
    client: hostOf(names.client),
    setAgentLink: async (state) => void (await within(names.server, 'link', 'set', `v1s${id}`, state)),
    close,
  }
}
