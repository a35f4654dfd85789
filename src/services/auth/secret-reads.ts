/** Remembers which agent has been given which revision of a secret. */
export interface SecretReads {
  /** Whether this is the first time. */
  isFirst(agent: string, secret: string, revision: string): boolean
}

const MAX_READS = 10_000

export function createSecretReads(): SecretReads {
  const seen = new Map<string, string>()
  return {
    isFirst(agent, secret, revision) {
      const key = JSON.stringify([agent, secret])
      if (seen.get(key) === revision) return false
      seen.delete(key)
      seen.set(key, revision)
      for (const oldest of seen.keys()) {
        if (seen.size <= MAX_READS) break
        seen.delete(oldest)
      }
      return true
    },
  }
}
