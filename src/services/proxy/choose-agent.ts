import { createHash } from 'node:crypto'
import type { Health } from '../../resources/app-server.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'

/** An agent that could take an exchange. */
export interface Candidate {
  hostId: string
  target: ExchangeTarget
  health: Health['state'] | undefined
  /** Exchanges under way. */
  load: number
}

/** How well a server has to do for its agent to be asked before another: what nobody has tried yet is as good as any. */
const RANKS: Readonly<Record<Health['state'], number>> = { healthy: 0, unknown: 0, degraded: 1, failing: 2 }

/**
 * The agent for a new session: of those whose server does best, the one with the fewest exchanges under way. With a key, of a caller whose
 * requests belong together without a session, always the same one of them: what is remembered between two requests is there. When it goes, or its
 * server fails, the next takes over, and no other caller is moved.
 */
export function chooseAgent(candidates: readonly Candidate[], key: string | undefined): Candidate | undefined {
  const best = Math.min(...candidates.map(rankOf))
  const among = candidates.filter((one) => rankOf(one) === best)
  if (among.length <= 1) return among[0]
  if (key === undefined) return among.reduce((a, b) => (b.load < a.load ? b : a))
  const weigh = ({ hostId }: Candidate): string => createHash('sha256').update(`${key} ${hostId}`).digest('hex')
  return among.map((one) => ({ weight: weigh(one), one })).reduce((a, b) => (b.weight > a.weight ? b : a)).one
}

function rankOf({ health }: Candidate): number {
  return health === undefined ? 0 : RANKS[health]
}
