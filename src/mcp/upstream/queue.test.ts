import { expect, test } from 'vitest'
import { createQueue } from './queue.ts'

const sizeOf = (item: string): number => item.length

async function readAll(queue: AsyncIterable<string>): Promise<string[]> {
  const read: string[] = []
  for await (const item of queue) read.push(item)
  return read
}

test('a failure comes after what waits, once', async () => {
  const queue = createQueue({ sizeOf })
  queue.push('a')
  queue.fail(new Error('gone'))
  queue.push('ignored')
  const iterator = queue[Symbol.asyncIterator]()
  expect(await iterator.next()).toEqual({ done: false, value: 'a' })
  await expect(iterator.next()).rejects.toThrow('gone')
  expect(await iterator.next()).toEqual({ done: true, value: undefined })
})

test('a failure can drop what waits', async () => {
  const queue = createQueue({ sizeOf })
  queue.push('a')
  queue.fail(new Error('gone'), true)
  await expect(readAll(queue)).rejects.toThrow('gone')
})

test('a waiting reader is told of the failure once', async () => {
  const queue = createQueue({ sizeOf })
  const iterator = queue[Symbol.asyncIterator]()
  const waiting = iterator.next()
  queue.fail(new Error('gone'))
  await expect(waiting).rejects.toThrow('gone')
  expect(await iterator.next()).toEqual({ done: true, value: undefined })
})

test('a reader that stops early abandons it, one that reads to the end does not', async () => {
  let abandoned = 0
  const onAbandon = (): void => void abandoned++
  const left = createQueue({ sizeOf, onAbandon })
  left.push('a')
  for await (const _ of left) break
  expect(abandoned).toBe(1)

  const read = createQueue({ sizeOf, onAbandon })
  read.push('a')
  read.end()
  expect(await readAll(read)).toEqual(['a'])
  expect(abandoned).toBe(1)
})

test('it knows the bytes that wait and keeps the order over many items', async () => {
  const queue = createQueue({ sizeOf })
  for (let n = 0; n < 5000; n++) queue.push(String(n).padStart(4, '0'))
  expect(queue.bytes()).toBe(20_000)
  queue.end()
  const read = await readAll(queue)
  expect(read.length).toBe(5000)
  expect(read[4999]).toBe('4999')
  expect(queue.bytes()).toBe(0)
})
