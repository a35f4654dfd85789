/** Remembers what was written down of an agent, so that what happens again and again is in the audit log once. */
export interface FirstTimes {
  /** Whether this is the first time, or the version another one than the last time. */
  isFirst(agent: string, what: string, version: string): boolean
}

const MAX_KEPT = 10_000

export function createFirstTimes(): FirstTimes {
  const seen = new Map<string, string>()
  return {
    isFirst(agent, what, version) {
      const key = JSON.stringify([agent, what])
      if (seen.get(key) === version) return false
      seen.delete(key)
      seen.set(key, version)
      for (const oldest of seen.keys()) {
        if (seen.size <= MAX_KEPT) break
        seen.delete(oldest)
      }
      return true
    },
  }
}
