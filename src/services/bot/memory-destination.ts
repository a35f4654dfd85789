import type { Destination } from './destination.ts'

/** Files that end with the process. */
export function createMemoryDestination(): Destination {
  const files = new Map<string, string>()
  return {
    name: 'memory',
    check: async () => {},
    read: async (file) => files.get(file),
    write: async (written) => {
      for (const [name, content] of written) files.set(name, content)
    },
  }
}
