/**
 * The candidate closest to a mistyped word, or undefined when none is within `most` edits (insertions, deletions,
 * replacements). Case does not count. The first of equally close ones wins; words over 64 characters are not compared.
 */
export function findNearest(word: string, candidates: Iterable<string>, most = 2): string | undefined {
  const wanted = word.toLowerCase()
  let best: string | undefined
  let bestDistance = most + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - wanted.length) > most || wanted.length > 64) continue
    const distance = editDistance(wanted, candidate.toLowerCase())
    // A word that shares no more than half of its letters is no suggestion but a guess.
    if (distance < bestDistance && distance * 2 <= candidate.length) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** ` (did you mean "…"?)`, to be put behind a mistyped word; nothing when no candidate is near. */
export function renderNearest(word: string, candidates: Iterable<string>): string {
  const nearest = findNearest(word, candidates)
  return nearest === undefined ? '' : ` (did you mean ${JSON.stringify(nearest)}?)`
}

/** Levenshtein distance, row by row. */
function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[right.length] ?? 0
}
