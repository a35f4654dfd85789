import { describe, expect, test } from 'vitest'
import { confine } from './confine.ts'
import type { ConfineOptions } from './confine.ts'
import type { Programs, Self } from './machine.ts'

const programs: Programs = {
  sh: '/bin/sh',
  setpriv: '/usr/bin/setpriv',
  prlimit: '/usr/bin/prlimit',
  unshare: { path: '/usr/bin/unshare', options: ['--pid'] },
  bwrap: '/usr/bin/bwrap',
  env: '/usr/bin/env',
}
const root: Self = { uid: 0, name: 'root', hostname: 'agent1', programs, sandboxFault: undefined }
const alice = { name: 'alice', uid: 1001, gid: 1002, home: '/home/alice', shell: '/bin/bash' }
const place = { entries: ['/cg/1/cgroup.procs'], limits: { memory: true, processes: true } }

function options(some: Partial<ConfineOptions>): ConfineOptions {
  return { user: alice, self: root, hosting: {}, place, cwd: '/home/alice', hidden: [], ...some }
}

describe('what cannot be held is refused', () => {
  test('a sandbox on a machine without one, with the remedy', () => {
    const self = { ...root, sandboxFault: 'bubblewrap is not installed on agent1: install it' }
    expect(() => confine(options({ self, hosting: { confinement: 'sandbox' } }))).toThrow(
      'bubblewrap is not installed on agent1: install it',
    )
  })

  test('process confinement without setpriv', () => {
    const self = { ...root, uid: 1001, name: 'alice', programs: { ...programs, setpriv: undefined } }
    expect(() => confine(options({ self, hosting: { confinement: 'process' } }))).toThrow(
      'confinement: process needs setpriv (package util-linux) on agent1',
    )
  })

  test('limits without prlimit', () => {
    const self = { ...root, programs: { ...programs, prlimit: undefined } }
    expect(() => confine(options({ self, hosting: { limits: { open_files: 64 } } }))).toThrow('the limits of the server need prlimit')
  })

  test('a number of processes of root, where only accounts have one', () => {
    const user = { ...alice, name: 'root', uid: 0, gid: 0 }
    expect(() => confine(options({ user, place: undefined, hosting: { limits: { processes: 9 } } }))).toThrow(
      'limits.processes does not hold for root',
    )
  })
})

describe('the words before a command', () => {
  const join = [
    '/bin/sh',
    '-c',
    'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; unset PWD OLDPWD SHLVL _; exec "$@"',
    'sh',
  ]

  test('a group is joined before the account changes', () => {
    const account = ['/usr/bin/setpriv', '--reuid=1001', '--regid=1002', '--init-groups', '--inh-caps=-all', '--pdeathsig', 'KILL', '--']
    expect(confine(options({}))).toEqual({
      user: alice,
      changesUser: true,
      isWrapped: false,
      prefix: [...join, '/cg/1/cgroup.procs', '--', ...account],
    })
  })

  test('without a group, root uses a namespace and others only where setuid does not count any more', () => {
    expect(confine(options({ place: undefined }))).toMatchObject({ isWrapped: true })
    const self = { ...root, uid: 1001, name: 'alice' }
    expect(confine(options({ place: undefined, self })).prefix).toEqual(['/usr/bin/setpriv', '--pdeathsig', 'KILL', '--'])
    expect(confine(options({ place: undefined, self, hosting: { confinement: 'process' } }))).toMatchObject({ isWrapped: true })
  })

  test('what the group cannot limit is limited by the process', () => {
    const hosting = { limits: { memory: '64MiB', processes: 9, open_files: 64, cpu_time: '1m' } }
    const cpu = ['/usr/bin/prlimit', '--nofile=64:64', '--cpu=60:60']
    expect(confine(options({ hosting })).prefix.slice(6, 10)).toEqual([...cpu, '--'])
    const weak = { entries: [], limits: { memory: false, processes: false } }
    expect(confine(options({ hosting, place: weak })).prefix.slice(0, 6)).toEqual([...cpu, '--data=67108864:67108864', '--nproc=9:9', '--'])
  })

  test('the process profile drops what could be gained', () => {
    const { prefix } = confine(options({ hosting: { confinement: 'process' } }))
    expect(prefix.slice(6, 9)).toEqual(['/usr/bin/prlimit', '--core=0:0', '--'])
    expect(prefix.slice(14)).toEqual(['--no-new-privs', '--bounding-set=-all', '--pdeathsig', 'KILL', '--'])
  })

  test('a sandbox hides the agent last, whatever was let through before', () => {
    const { prefix } = confine(options({ hosting: { confinement: 'sandbox', sandbox: { writable: ['/srv'] } }, hidden: ['/srv/agent'] }))
    const text = prefix.join(' ')
    expect(text).toMatch(
      /--bind \/srv \/srv .*--tmpfs \/srv\/agent .*--cap-drop ALL --cap-add CAP_SETPCAP --cap-add CAP_SETUID --cap-add CAP_SETGID --chdir \/home\/alice/,
    )
    expect(text).toContain('--unshare-net')
    expect(text).toContain('--ro-bind / /')
  })
})
