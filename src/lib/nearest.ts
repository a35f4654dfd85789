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
    const distance = editDistance(wanted, candidate.toLowerCase(), most)
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

/**
 * Levenshtein distance, row by row, where it is at most so much; more than that else. Only what so few edits can reach is looked at: a stranger's
 * word may have to be compared with the names of thousands of servers.
 */
function editDistance(left: string, right: string, most: number): number {
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current: number[] = []
    const [first, last] = [Math.max(1, row - most), Math.min(right.length, row + most)]
    current[first - 1] = first === 1 ? row : most + 1
    let least = current[first - 1] ?? 0
    for (let column = first; column <= last; column++) {
      const replaced = (previous[column - 1] ?? most) + (left[row - 1] === right[column - 1] ? 0 : 1)
      const distance = Math.min(replaced, (previous[column] ?? most) + 1, (current[column - 1] ?? most) + 1)
      current[column] = distance
      least = Math.min(least, distance)
    }
    if (least > most) return least
    previous = current
  }
  return previous[right.length] ?? most + 1
}
