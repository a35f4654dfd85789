import { AppError } from '../../lib/errors.ts'

export interface StartQueueOptions {
  /** How many may start at a time. */
  limit: number
  /** How many may wait, and for how long. */
  maxWaiting: number
  waitMs: number
}

/** Lets a few programs start at a time: two hundred at once would keep each other, and everybody else, from getting anywhere. */
export interface StartQueue {
  /**
   * Waits for its turn; `release` (safe to call twice) ends it.
   * @throws AppError resource_exhausted when too many wait, or it waited too long.
   */
  enter(): Promise<{ release(): void }>
}

export function createStartQueue({ limit, maxWaiting, waitMs }: StartQueueOptions): StartQueue {
  const waiting = new Set<() => void>()
  let active = 0

  const turn = (): { release(): void } => {
    let isOver = false
    active++
    return {
      release() {
        if (isOver) return
        isOver = true
        active--
        const [next] = waiting
        next?.()
      },
    }
  }
  return {
    enter() {
      if (active < limit) return Promise.resolve(turn())
      if (waiting.size >= maxWaiting) return Promise.reject(tooMany())
      return new Promise((resolve, reject) => {
        const begin = (): void => {
          waiting.delete(begin)
          clearTimeout(timer)
          resolve(turn())
        }
        const timer = setTimeout(() => {
          waiting.delete(begin)
          reject(tooMany())
        }, waitMs)
        waiting.add(begin)
      })
    },
  }
}

function tooMany(): AppError {
  return new AppError('resource_exhausted', 'too many MCP servers are being started on this agent: try again in a moment')
}
