import { readdir, readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApiToken } from '../../src/api/api-tokens.ts'
import { searchEvents } from '../../src/api/audit.ts'
import { getResource, upsertResource } from '../../src/api/resources.ts'
import { inviteUser } from '../../src/api/users.ts'
import { verifyChain } from '../../src/audit/chain.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { POSTGRES_BIN, startPostgres } from '../fakes/postgres.ts'
import { bin, ROOT, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually } from '../wait.ts'
import { openRawSession, type RawSession } from './raw-session.ts'

// kill -9 of `sallyport start` in the middle of 1,000 calls: what was answered is in the audit log, once.

const STORES = POSTGRES_BIN === undefined ? (['sqlite'] as const) : (['sqlite', 'postgresql'] as const)
const CALLS = 1000
const AT_A_TIME = 16
const KILL_AFTER = 400

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let echo: EchoHttp
let config: string
let gateway: Started
let api: ApiClient
let closePostgres: () => Promise<void>

/** Starts the gateway on the same data as before; its base URL. */
async function start(): Promise<string> {
  gateway = startProgram(bin('sallyport'), ['start', '-c', config, '--data-dir', join(directory.path, 'data')])
  await gateway.saw('is up')
  return `http://127.0.0.1:${/listening on 127\.0\.0\.1:(\d+)/.exec(gateway.stdout())?.[1]}`
}

async function save(kind: string, name: string, version: string, spec: unknown): Promise<void> {
  await api(upsertResource, { kind, name, resource: { kind, version, metadata: { name, labels: { env: 'crash' } }, spec } })
}

/** All lines of the log, in the order of the chain. */
async function allLines(): Promise<string[]> {
  const lines: string[] = []
  for (let after: number | undefined; ;) {
    const page = await api(searchEvents, { limit: 1000, after })
    lines.push(...page.lines)
    if (page.next === null) return lines
    after = page.next
  }
}

interface EchoEvent {
  outcome: string
  text: string
}

function echoes(lines: string[]): EchoEvent[] {
  return lines.flatMap((line) => {
    const event = JSON.parse(line)
    return event.event === 'mcp.session.request' && event.tool === 'echo'
      ? [{ outcome: event.outcome, text: event.message.params.arguments.text }]
      : []
  })
}

/** Sends calls until the gateway is gone; calls that were answered, by text. Rejects when it refuses one while it is there. */
async function callUntilKilled(sessions: RawSession[]): Promise<Set<string>> {
  const answered = new Set<string>()
  let next = 0
  const work = async (session: RawSession): Promise<void> => {
    while (next < CALLS) {
      const text = `call ${next++}`
      const answer = await session.call('echo', { text }).catch(() => undefined)
      if (!answer) return
      expect(answer).toMatchObject({ status: 200, message: { result: {} } })
      answered.add(text)
      if (answered.size === KILL_AFTER) gateway.kill('SIGKILL')
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, (_, index) => work(sessions[index % sessions.length]!)))
  return answered
}

describe.each(STORES)('with its store in %s', (store) => {
  beforeAll(async () => {
    directory = await temporaryDirectory()
    echo = await startEchoHttp()
    config = join(directory.path, 'sallyport.yaml')
    const postgres = store === 'postgresql' ? await startPostgres() : undefined
    closePostgres = async () => postgres?.close()
    const storage = postgres ? { storage: { type: 'postgresql', conn_string: postgres.connString } } : {}
    await writeFile(config, JSON.stringify({ teleport: storage, proxy_service: { web_listen_addr: '127.0.0.1:0' } }))
    api = createApiClient(createLocalCarrier(join(directory.path, 'data')))
  })
  afterAll(async () => {
    gateway.kill('SIGKILL')
    await gateway.ended
    await echo.close()
    await closePostgres()
    await directory.dispose()
  })

  it('loses no answered call and no acknowledged write, and the chain holds', async () => {
    const url = await start()
    await save('app', 'echo-http', 'v3', { uri: `mcp+${echo.url}` })
    const args = [join(ROOT, 'test', 'fakes', 'echo-stdio.ts')]
    await save('app', 'echo-stdio', 'v3', { mcp: { command: process.execPath, args, run_as_host_user: userInfo().username } })
    await save('role', 'crash', 'v8', { allow: { app_labels: { env: 'crash' }, mcp: { tools: ['*'] } } })
    await api(inviteUser, { name: 'ana', roles: ['crash'] })
    const { token } = await api(createApiToken, { user: 'ana' })
    const sessions = await Promise.all(['echo-http', 'echo-stdio'].map((app) => openRawSession(new URL(`${url}/mcp/apps/${app}`), token)))

    const writing = (async () => {
      const written: string[] = []
      for (let index = 0; ; index++) {
        const name = `role-${index}`
        if (
          !(await save('role', name, 'v8', {}).then(
            () => true,
            () => false,
          ))
        )
          return written
        written.push(name)
      }
    })()
    const answered = await callUntilKilled(sessions).finally(() => gateway.kill('SIGKILL'))
    const written = await writing
    await gateway.ended
    expect(answered.size).toBeGreaterThanOrEqual(KILL_AFTER)
    expect(answered.size).toBeLessThan(CALLS)

    await start()
    const lines = await eventually('every answered call in the log', async () => {
      const found = await allLines()
      const texts = new Set(echoes(found).map(({ text }) => text))
      return [...answered].every((text) => texts.has(text)) ? found : undefined
    })
    const events = echoes(lines)
    expect(new Set(events.map(({ text }) => text)).size).toBe(events.length)
    const outcomes = new Map(events.map(({ text, outcome }) => [text, outcome]))
    expect([...answered].filter((text) => outcomes.get(text) !== 'success')).toEqual([])
    expect([...outcomes.values()].every((outcome) => outcome === 'success' || outcome === 'interrupted')).toBe(true)
    for (const name of written) expect((await api(getResource, { kind: 'role', name })).metadata.name).toBe(name)

    expect(await verifyChain(lines)).toMatchObject({ ok: true, count: lines.length })
    const files = (await readdir(join(directory.path, 'data', 'audit'))).filter((name) => name.endsWith('.jsonl')).toSorted()
    const read = async (): Promise<string[]> =>
      (await Promise.all(files.map((name) => readFile(join(directory.path, 'data', 'audit', name), 'utf8')))).join('').trimEnd().split('\n')
    await eventually('the files to have caught up', async () => ((await read()).length >= lines.length ? true : undefined))
    expect(await verifyChain(await read())).toMatchObject({ ok: true })
  }, 180_000)

  it('SIGTERM lets the calls under way finish, ends with 0 and leaves nothing behind', async () => {
    gateway.kill('SIGKILL')
    await gateway.ended
    const url = await start()
    const { token } = await api(createApiToken, { user: 'ana' })
    const session = await openRawSession(new URL(`${url}/mcp/apps/echo-stdio`), token)
    const underWay = session.call('slow', { ms: 1000 })
    await eventually('the call at the server', async () => {
      const { message } = await session.call('received', {})
      return JSON.stringify(message).includes('slow') ? true : undefined
    })
    gateway.kill('SIGTERM')
    expect(await underWay).toMatchObject({ status: 200, message: { result: { content: [{ type: 'text', text: 'late' }] } } })
    expect(await gateway.ended).toMatchObject({ code: 0 })
    expect((await readdir(join(directory.path, 'data'))).filter((name) => name === 'auth.sock' || name === 'instance.json')).toEqual([])

    await start()
    const ends = (await allLines()).filter((line) => JSON.parse(line).event === 'mcp.session.end')
    expect(ends.length).toBeGreaterThanOrEqual(1)
  }, 120_000)
})
