/** Says that something is not wanted any more. */
export type StopSignal = AbortSignal | Stopping

/**
 * Makes something stop, and is the signal of that: what an AbortController is, for what begins thousands of times a second and is hardly ever
 * broken off. The first listener costs nothing; an AbortSignal is made for whoever wants more.
 */
export class Stopping {
  #isAborted = false
  #listener: (() => void) | undefined
  #controller: AbortController | undefined

  get aborted(): boolean {
    return this.#isAborted
  }

  /** Once; the listeners are called before it returns. */
  abort(): void {
    if (this.#isAborted) return
    this.#isAborted = true
    const listener = this.#listener
    this.#listener = undefined
    try {
      listener?.()
    } finally {
      this.#controller?.abort()
    }
  }

  /** As an AbortSignal does it, so that either will do: no listener is called twice, and none that comes too late. */
  addEventListener(type: 'abort', listener: () => void, options: { once: true }): void {
    if (this.#isAborted || this.#listener === listener) return
    if (this.#listener) this.signal.addEventListener(type, listener, options)
    else this.#listener = listener
  }

  removeEventListener(type: 'abort', listener: () => void): void {
    if (this.#listener === listener) this.#listener = undefined
    else this.#controller?.signal.removeEventListener(type, listener)
  }

  /** For those who take no other. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#isAborted) this.#controller.abort()
    }
    return this.#controller.signal
  }
}

export function toAbortSignal(stop: StopSignal): AbortSignal {
  return stop instanceof Stopping ? stop.signal : stop
}
