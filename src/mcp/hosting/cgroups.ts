import { dirname, join } from 'node:path'

/** Where this process is in the machine's control groups: directories below which it may try to make groups of its own. */
export interface Cgroups {
  /** Of cgroup v2, which can kill a whole group. */
  unified: string | undefined
  /** Of the controllers that are still with cgroup v1. */
  memory: string | undefined
  pids: string | undefined
}

/** The name of a group that an operator made for the agent alone, so that controllers can be enabled above it (`DelegateSubgroup=` of systemd). */
const OWN_SUBGROUP = 'sallyport-agent'

/**
 * Reads `/proc/self/cgroup` (cgroups(7)) and `/proc/self/mountinfo` (proc(5)).
 * What is mounted elsewhere than where this process is in the hierarchy is left out.
 */
export function readCgroups(cgroup: string, mountinfo: string): Cgroups {
  const paths = new Map<string, string>()
  for (const line of cgroup.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined || path.split('/').includes('..')) continue
    for (const controller of controllers.split(',')) paths.set(controller, path)
  }
  const find = (type: string, controller: string): string | undefined => {
    const path = paths.get(controller)
    if (path === undefined) return undefined
    for (const line of mountinfo.split('\n')) {
      const [before = '', after = ''] = line.split(' - ')
      const [, , , root = '', point = ''] = before.split(' ')
      const [fstype, , options = ''] = after.split(' ')
      if (fstype !== type || (controller !== '' && !options.split(',').includes(controller))) continue
      const below = belowRoot(root, path)
      if (below !== undefined) return join(point, below)
    }
    return undefined
  }
  const unified = find('cgroup2', '')
  return {
    unified: unified !== undefined && unified.endsWith(`/${OWN_SUBGROUP}`) ? dirname(unified) : unified,
    memory: find('cgroup', 'memory'),
    pids: find('cgroup', 'pids'),
  }
}

function belowRoot(root: string, path: string): string | undefined {
  if (root === '/') return path
  return path === root || path.startsWith(`${root}/`) ? path.slice(root.length) : undefined
}
