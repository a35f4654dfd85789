import { describe, expect, test } from 'vitest'
import { faultOf } from '../../../test/fakes/outgoing.ts'
import { createRunCommand } from '../hosting/run-command.ts'
import type { RunCommand } from '../hosting/run-command.ts'
import { changesUser, resolveHostUser } from './host-user.ts'
import type { Self } from '../hosting/machine.ts'

const root: Self = {
  uid: 0,
  name: 'root',
  hostname: 'agent1',
  programs: { sh: '/bin/sh', setpriv: '/bin/setpriv', prlimit: undefined, unshare: undefined, bwrap: undefined, env: undefined },
  sandboxFault: 'none here',
}
const alice = { name: 'alice', uid: 1001, gid: 1002, home: '/home/alice', shell: '/bin/bash' }

/** A machine whose commands say what the table has; others do not exist. */
function machine(table: Record<string, { code: number; stdout: string }>): RunCommand & { ran: string[] } {
  const ran: string[] = []
  const run: RunCommand = async (command, args) => {
    const line = [command, ...args].join(' ')
    ran.push(line)
    return table[line] ?? table[command] ?? { code: undefined, stdout: '' }
  }
  return Object.assign(run, { ran })
}

describe('resolveHostUser', () => {
  test('an unknown user is refused by name', async () => {
    const run = machine({ getent: { code: 2, stdout: '' } })
    expect(await faultOf(resolveHostUser('mallory', run, 'agent1'))).toEqual({
      code: 'failed_precondition',
      origin: 'gateway',
      message: 'host user "mallory" does not exist on agent1',
    })
  })

  test('a name that could be an option or another database key never reaches a command', async () => {
    for (const name of ['-s', '--service=files', 'a b', 'a:b', 'a\nb', '../x', '']) {
      const run = machine({ getent: { code: 2, stdout: '' } })
      expect((await faultOf(resolveHostUser(name, run, 'agent1'))).code).toBe('failed_precondition')
      expect(run.ran).toEqual([])
    }
  })

  test('an entry that makes no sense is no account', async () => {
    for (const stdout of ['', 'alice:x:-1:5::/:/bin/sh', 'alice:x:99999999999:5::/:/bin/sh', 'alice:x::5::/:/bin/sh', 'alice']) {
      const run = machine({ 'getent passwd -- alice': { code: 0, stdout } })
      expect((await faultOf(resolveHostUser('alice', run, 'agent1'))).code).toBe('failed_precondition')
    }
  })

  test('getent answers for names and numbers', async () => {
    const stdout = 'alice:x:1001:1002:Alice,,,:/home/alice:/bin/bash\n'
    const run = machine({ 'getent passwd -- alice': { code: 0, stdout }, 'getent passwd -- 1001': { code: 0, stdout } })
    expect(await resolveHostUser('alice', run, 'agent1')).toEqual(alice)
    expect(await resolveHostUser('1001', run, 'agent1')).toEqual(alice)
  })

  test('without getent, id answers as macOS prints it', async () => {
    const run = machine({ 'id -P alice': { code: 0, stdout: 'alice:********:1001:1002::0:0:Alice:/home/alice:/bin/bash\n' } })
    expect(await resolveHostUser('alice', run, 'agent1')).toEqual(alice)
  })

  test('with neither, id still knows the numbers', async () => {
    const run = machine({
      'id -u alice': { code: 0, stdout: '1001\n' },
      'id -g alice': { code: 0, stdout: '1002\n' },
      'id -un alice': { code: 0, stdout: 'alice\n' },
    })
    expect(await resolveHostUser('alice', run, 'agent1')).toEqual({ ...alice, home: '/', shell: '/bin/sh' })
  })

  test('root is there on this machine', async () => {
    expect(await resolveHostUser('root', createRunCommand(process.env), 'here')).toMatchObject({ name: 'root', uid: 0, gid: 0 })
  })
})

describe('changesUser', () => {
  test('an agent that is not root starts nothing as somebody else', () => {
    expect(() => changesUser(alice, { ...root, uid: 1000, name: 'agent' })).toThrow(
      'the agent runs as agent and may not start processes as alice: run it as root or set run_as_host_user: agent',
    )
    expect(() => changesUser({ ...alice, name: 'root', uid: 0 }, { ...root, uid: 1000, name: 'agent' })).toThrow(
      'may not start processes as root',
    )
  })

  test('root without setpriv starts nothing as somebody else', () => {
    expect(() => changesUser(alice, { ...root, programs: { ...root.programs, setpriv: undefined } })).toThrow(
      'starting processes as alice needs setpriv (package util-linux) on agent1',
    )
  })

  test('root may become anybody, and everybody may stay who they are', () => {
    expect(changesUser(alice, root)).toBe(true)
    expect(changesUser(alice, { ...root, uid: 1001, name: 'alice' })).toBe(false)
  })
})
