import { AppError } from '../lib/errors.ts'
import type { Labels } from '../resources/envelope.ts'
import type { Selector } from '../resources/role.ts'
import { matchLabels } from './labels.ts'

export interface OfferFacts {
  /** What the join token of the host lets it serve; undefined: everything. */
  limits: Selector | undefined
  /** Labels of the `app` or `db` resource that has the name; undefined where nobody registered one. */
  registered: Labels | undefined
  /** Labels as the host says them. */
  offered: Labels
}

const ORIGIN = 'teleport.dev/origin'

/**
 * Why a host may not offer an MCP server or a database under a name; undefined when it may. What somebody registered decides by its own labels,
 * whatever the host says of them; and what stands in the configuration file of an agent does not take the name of a resource that has other labels.
 */
export function findOfferFault({ limits, registered, offered }: OfferFacts): string | undefined {
  if (limits && !selects(limits, registered ?? offered))
    return `the join token of this host does not let it serve what has the labels ${renderLabels(registered ?? offered)}`
  if (registered && offered[ORIGIN] === 'config-file' && renderLabels(registered) !== renderLabels(offered))
    return `its name is that of a resource with the labels ${renderLabels(registered)}, and what the configuration file of this agent has is ${renderLabels(offered)}: give it another name`
  return undefined
}

/** A pattern that nobody can read selects nothing. */
function selects(limits: Selector, labels: Labels): boolean {
  try {
    return matchLabels(limits, labels)
  } catch (thrown) {
    if (thrown instanceof AppError) return false
    throw thrown
  }
}

function renderLabels(labels: Labels): string {
  const shown = Object.entries(labels).filter(([key]) => key !== ORIGIN && !key.startsWith('teleport.internal/'))
  if (shown.length === 0) return '(none)'
  return shown
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}
