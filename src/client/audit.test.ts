import { expect, test } from 'vitest'
import { fetchAllEvents } from './audit.ts'
import { createApiClient } from './call.ts'

test('an empty page with a next one is not the end, and a page that leads nowhere is', async () => {
  const pages = [
    { lines: [], next: 50_000 },
    { lines: ['{"uid":"a"}'], next: 60_000 },
    { lines: [], next: 60_000 },
  ]
  const asked: (string | null)[] = []
  const api = createApiClient(async ({ path }) => {
    asked.push(new URL(path, 'http://auth').searchParams.get('after'))
    return { status: 200, body: JSON.stringify(pages.shift()) }
  })
  expect(await Array.fromAsync(fetchAllEvents(api, { tool: 'rare' }))).toEqual(['{"uid":"a"}'])
  expect(asked).toEqual([null, '50000', '60000'])
})
