/** What has gone into a session with a program: the parameters of its `initialize`, or undefined where they are of that session alone. */
export type Handshake = string | undefined

/** How often a session began in one of these ways counts less with each that came later. */
const FADING = 0.8
const MAX_KNOWN = 16
/** A way that counts less is forgotten. */
const LEAST = 0.05

/** The ways in which sessions with a program began lately: so the next ones will. */
export class Handshakes {
  readonly #weights = new Map<Handshake, number>()

  /** One more session began in this way. */
  note(handshake: Handshake): void {
    for (const [known, weight] of this.#weights) this.#weights.set(known, weight * FADING)
    const weight = this.weightOf(handshake) + 1
    this.#weights.delete(handshake)
    this.#weights.set(handshake, weight)
    for (const [known, other] of this.#weights) if (other < LEAST || this.#weights.size > MAX_KNOWN) this.#weights.delete(known)
  }

  forget(handshake: Handshake): void {
    this.#weights.delete(handshake)
  }

  weightOf(handshake: Handshake): number {
    return this.#weights.get(handshake) ?? 0
  }

  /**
   * What one more spare is to be ready for, given how many are ready for what: shared out like seats by votes (d'Hondt). Undefined for none of those
   * that are known.
   */
  next(ready: (handshake: Handshake) => number): Handshake {
    let best: { handshake: Handshake; share: number } = { handshake: undefined, share: 0 }
    for (const [handshake, weight] of this.#weights) {
      const share = weight / (ready(handshake) + 1)
      if (share > best.share) best = { handshake, share }
    }
    return best.handshake
  }
}
