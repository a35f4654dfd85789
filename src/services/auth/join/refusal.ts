import { AppError } from '../../../lib/errors.ts'

const WORDS =
  'the join was refused: the join token is unknown, used up, expired or locked, or does not fit the join method. ' +
  'Ask an administrator for a new one (tctl tokens add, for a bot tctl bots add); the reason is in the audit log of the cluster'

/** Same words for everybody outside, so that tokens cannot be tried; the audit log has the reason. */
export class JoinRefusal extends AppError {
  readonly reason: string
  /** For the audit log: what is known of who it was. */
  readonly facts: { join_token?: string; bot_name?: string; attributes?: unknown }

  /** @param shown words for the caller, where the caller has proved enough to be told. */
  constructor(reason: string, { shown, ...facts }: JoinRefusal['facts'] & { shown?: string } = {}) {
    super('permission_denied', shown ?? WORDS)
    this.reason = reason
    this.facts = facts
  }
}
