const POLL_MS = 20

/**
 * How long a test waits for what has to come. On a machine with nothing else to do all of it comes within a second or two; where everybody
 * works at once each step takes ten times as long. A wait that ends here says what it waited for: tests last longer (`vitest.config.ts`).
 */
const WAIT_MS = 30_000

/**
 * What the product does within a second of what happened, as a busy machine may show it. Whatever else would end the same thing later, such as
 * the end of a credential or the next look from time to time, is far behind it.
 */
export const AT_ONCE_MS = 6000

/**
 * Asks again and again until there is an answer, and gives it; undefined and false are none.
 * @param what for the message when there is none within `ms`; as a function, as things are then.
 */
export async function eventually<T>(
  what: string | (() => string),
  ask: () => Promise<T | undefined> | T | undefined,
  ms = WAIT_MS,
): Promise<Exclude<T, undefined | false>> {
  const end = Date.now() + ms
  for (;;) {
    const answer = await ask()
    if (isAnswer(answer)) return answer
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${render(what)}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function render(what: string | (() => string)): string {
  return typeof what === 'string' ? what : what()
}

function isAnswer<T>(answer: T | undefined): answer is Exclude<T, undefined | false> {
  return answer !== undefined && answer !== false
}

/** Tries again and again until it succeeds; fails after `ms`, and says why the last try did. */
export function succeeds<T>(what: string, attempt: () => Promise<T>, ms = WAIT_MS): Promise<T> {
  let reason: unknown
  const tryOnce = (): Promise<{ value: T } | undefined> =>
    attempt().then(
      (value) => ({ value }),
      (thrown: unknown) => void (reason = thrown),
    )
  return eventually(() => `${what}: ${String(reason)}`, tryOnce, ms).then(({ value }) => value)
}

/** Settles as `promise` does, or fails after `ms`. */
export async function within<T>(what: string | (() => string), promise: Promise<T>, ms = WAIT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${render(what)}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
