/** What one side puts in as it comes and the other iterates, once. */
export interface Queue<T> extends AsyncIterable<T> {
  push(item: T): void
  /** No more items: the iteration ends after those that wait. */
  end(): void
  /** The iteration rejects with `error` after the items that wait; at once, and without them, when `dropItems` is set. */
  fail(error: Error, dropItems?: boolean): void
  /** Sum of the sizes of the items that wait. No accessor: a literal with one makes a hidden class each time, which stays for long. */
  bytes(): number
}

export interface QueueOptions<T> {
  sizeOf: (item: T) => number
  /** An item was taken. */
  onTake?: () => void
  /** The reader stopped before the end. */
  onAbandon?: () => void
}

/** A queue without a bound of its own: whoever pushes looks at `bytes`. Ending or failing it a second time does nothing. */
export function createQueue<T>(options: QueueOptions<T>): Queue<T> {
  const backlog = createBacklog(options.sizeOf)
  let outcome: { error: Error | undefined } | undefined
  let waiting: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined

  const conclude = (error: Error | undefined): void => {
    if (outcome) return
    // An error is told once; after it the iteration is over.
    outcome = { error: waiting ? undefined : error }
    if (error) waiting?.reject(error)
    else waiting?.resolve(DONE)
    waiting = undefined
  }
  const iterator: AsyncIterator<T, undefined> = {
    async next() {
      if (backlog.count() > 0) {
        const value = backlog.take()
        options.onTake?.()
        return { done: false, value }
      }
      if (!outcome) return (waiting = Promise.withResolvers()).promise
      const { error } = outcome
      outcome = { error: undefined }
      if (error) throw error
      return DONE
    },
    async return() {
      const isEarly = !outcome || backlog.count() > 0
      backlog.clear()
      conclude(undefined)
      if (isEarly) options.onAbandon?.()
      return DONE
    },
  }

  return {
    push(item) {
      if (outcome) return
      if (!waiting) return backlog.add(item)
      waiting.resolve({ done: false, value: item })
      waiting = undefined
    },
    end: () => conclude(undefined),
    fail(error, dropItems = false) {
      if (dropItems) backlog.clear()
      conclude(error)
    },
    bytes: () => backlog.bytes(),
    [Symbol.asyncIterator]: () => iterator,
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined }

/** Items in order. Taking from the front of an array one by one would cost the whole array each time. */
function createBacklog<T>(sizeOf: (item: T) => number) {
  let items: T[] = []
  let head = 0
  let bytes = 0
  return {
    bytes: () => bytes,
    count: () => items.length - head,
    add(item: T): void {
      items.push(item)
      bytes += sizeOf(item)
    },
    /** Only when there is one. */
    take(): T {
      const item = items[head]
      if (item === undefined) throw new RangeError('nothing to take')
      head++
      bytes -= sizeOf(item)
      if (head === items.length || head >= 1024) {
        items = items.slice(head)
        head = 0
      }
      return item
    },
    clear(): void {
      items = []
      head = 0
      bytes = 0
    },
  }
}
