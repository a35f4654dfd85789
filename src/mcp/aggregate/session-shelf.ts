/** Where several processes keep what they have to know together of sessions. Everything here has a deadline, and rejects while it cannot be had. */
export interface SessionShelf {
  /** What is kept under the name, and how often that was written. */
  find(name: string): Promise<{ body: string; revision: number } | undefined>
  /** Keeps it up until `expiresAt` (ms since 1970) in place of this revision, 0 for nothing; false when another was faster. */
  keep(kept: { name: string; owner: string; body: string; revision: number; expiresAt: number }): Promise<boolean>
  /** Takes it out: of several who do, one has it. */
  take(name: string): Promise<string | undefined>
  /** Calls `listener` with each name under which something else is kept now, whoever kept it; returns what ends that. */
  onKept(listener: (name: string) => void): () => void
}
