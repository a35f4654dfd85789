import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { renderChained, verifyChain } from '../audit/chain.ts'
import { transact } from './database.ts'
import { searchEvents } from './events.ts'
import type { StoredEvent } from './events.ts'
import { listResources } from './resources.ts'
import { findSecret, insertSecretIfAbsent, setSecret } from './secrets.ts'
import type { StoreLocation } from './store.ts'
import { freshLocation, freshStore, reopen, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  test('a transaction that throws is undone, and what others write meanwhile is not part of it', async () => {
    const db = await freshStore(type)
    const gate = Promise.withResolvers<void>()
    const failing = transact(db, async (tx) => {
      await setSecret(tx, 'a', '1')
      await transact(tx, (inner) => setSecret(inner, 'b', '1'))
      await gate.promise
      throw new Error('no')
    })
    const beside = setSecret(db, 'c', '1')
    gate.resolve()
    await expect(failing).rejects.toThrow('no')
    await beside
    expect([await findSecret(db, 'a'), await findSecret(db, 'b'), await findSecret(db, 'c')]).toEqual([undefined, undefined, '1'])
    await db.close()
  })

  test('two that opened one store: writers wait for each other, the first of several wins', async () => {
    const location = await freshLocation(type)
    const [one, two] = [await reopen(location), await reopen(location)]
    const stands = await Promise.all([insertSecretIfAbsent(one, 'ca', 'first'), insertSecretIfAbsent(two, 'ca', 'second')])
    expect(stands).toEqual([await findSecret(one, 'ca'), await findSecret(one, 'ca')])
    await one.close()
    await two.close()
  })

  test('what was acknowledged survives kill -9, and the chain goes on unbroken', { timeout: 60_000 }, async () => {
    const location = await freshLocation(type)
    const said: string[] = []
    for (const [run, lines] of [10, 81].entries()) said.push(...(await runUntil(location, lines, `run${run}`)))
    // Two at once on one file: neither may fail, and both add to one chain.
    said.push(...(await Promise.all([runUntil(location, 200, 'left'), runUntil(location, 200, 'right')])).flat())
    const db = await reopen(location)
    const names = (word: string): string[] => said.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1))

    const locks = new Set((await listResources(db, 'lock', 0)).map((lock) => lock.metadata.name))
    const deleted = new Set(names('deleted'))
    const lost = names('created').filter((name) => !deleted.has(name) && !locks.has(name))
    // The last lock of a run may have been deleted without the word getting out.
    expect(lost.length).toBeLessThanOrEqual(4)
    expect(lost.every((name) => Number(name.split('-')[1]) % 3 === 0)).toBe(true)
    expect([...deleted].filter((name) => locks.has(name))).toEqual([])
    expect(names('created').length).toBeGreaterThan(40)

    const events: StoredEvent[] = []
    for (let after: number | null = 0; after !== null;) {
      const page: Awaited<ReturnType<typeof searchEvents>> = await searchEvents(db, { limit: 1000, after })
      events.push(...page.events)
      after = page.next
    }
    const uids = new Set(events.map(({ uid }) => uid))
    expect(names('appended').filter((name) => ![0, 1, 2].every((index) => uids.has(`${name}-${index}`)))).toEqual([])
    expect(await verifyChain(events.map((event) => renderChained(event.text, event)))).toMatchObject({
      ok: true,
      count: uids.size,
      startsAt: 1,
    })
    await db.close()
  })
})

/** Lets a child write until it has acknowledged so many lines and kills it there and then. */
function runUntil({ type, at }: StoreLocation, lines: number, run: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'crash-child.ts'), type, at, run], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    let complained = ''
    child.stderr.on('data', (chunk: Buffer) => (complained += chunk.toString()))
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.split('\n').length > lines) child.kill('SIGKILL')
    })
    child.on('close', (_, signal) => (signal === 'SIGKILL' ? resolve(said.split('\n').slice(0, -1)) : reject(new Error(complained))))
  })
}
