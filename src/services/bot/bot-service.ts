import type { OwnIdentity } from './cluster.ts'

/** Something that the bot keeps fresh. */
export interface BotService {
  readonly name: string
  readonly intervalMs: number
  /** Where it writes, for messages. */
  readonly destination?: string
  /** Gets new credentials and puts them where they belong; when they end, in milliseconds since 1970. */
  renew(own: OwnIdentity): Promise<{ expiresAt: number }>
  /** Says what would stop it from writing; a token that is good for one join is not spent before. */
  check?(): Promise<void>
  /** Begins to listen, for those that do. */
  open?(): Promise<void>
  close?(): Promise<void>
}
