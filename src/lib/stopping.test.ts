import { expect, it } from 'vitest'
import { Stopping, toAbortSignal } from './stopping.ts'

const once = { once: true } as const

it('calls nobody who listens no longer, or came too late', () => {
  const told: string[] = []
  const [first, second] = [(): void => void told.push('first'), (): void => void told.push('second')]
  const stopping = new Stopping()
  stopping.addEventListener('abort', first, once)
  stopping.addEventListener('abort', second, once)
  stopping.removeEventListener('abort', first)
  stopping.removeEventListener('abort', second)
  stopping.abort()
  stopping.addEventListener('abort', first, once)
  expect(told).toEqual([])
})

it('calls each listener once, in their order, when it is aborted already', () => {
  const told: unknown[] = []
  const stopping = new Stopping()
  const first = (): void => void told.push(['first', stopping.aborted])
  stopping.addEventListener('abort', first, once)
  stopping.addEventListener('abort', first, once)
  stopping.addEventListener('abort', () => told.push(['second', stopping.aborted]), once)
  expect(stopping.aborted).toBe(false)
  stopping.abort()
  stopping.abort()
  expect(told).toEqual([
    ['first', true],
    ['second', true],
  ])
})

it('takes a listener in the place of one that left', () => {
  const told: string[] = []
  const stopping = new Stopping()
  const first = (): void => void told.push('first')
  stopping.addEventListener('abort', first, once)
  stopping.removeEventListener('abort', first)
  stopping.addEventListener('abort', () => told.push('second'), once)
  stopping.abort()
  expect(told).toEqual(['second'])
})

it('gives an AbortSignal to who needs one, before and after', () => {
  const stopping = new Stopping()
  const before = toAbortSignal(stopping)
  const late = new Stopping()
  expect(before.aborted).toBe(false)
  stopping.abort()
  late.abort()
  expect(before.aborted).toBe(true)
  expect(toAbortSignal(late).aborted).toBe(true)
  expect(toAbortSignal(before)).toBe(before)
})
