import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiToken } from '../../src/api/api-tokens.ts'
import { searchEvents } from '../../src/api/audit.ts'
import { getResource, upsertResource } from '../../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../../src/api/users.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { PASSWORD } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../fakes/postgres.ts'
import { bin, type Ended, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { runTctl } from '../tctl.ts'
import { eventually } from '../wait.ts'
import { openRawSession } from './raw-session.ts'

// A cluster moves from SQLite to PostgreSQL, and back.

describe.skipIf(POSTGRES_BIN === undefined)('sallyport backend clone', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>
  let postgres: TestPostgres
  let echo: EchoHttp
  let gateway: Started | undefined
  let api: ApiClient
  const path = (name: string): string => join(directory.path, name)

  beforeAll(async () => {
    directory = await temporaryDirectory()
    ;[postgres, echo] = await Promise.all([startPostgres(), startEchoHttp()])
    await writeFile(path('conn'), `${postgres.connString}\n`, { mode: 0o600 })
    api = createApiClient(createLocalCarrier(path('data')))
  }, 60_000)
  afterAll(async () => {
    gateway?.kill('SIGKILL')
    await gateway?.ended
    await echo?.close()
    await postgres?.close()
    await directory?.dispose()
  })

  const start = async (storage: Record<string, string>): Promise<string> => {
    await writeFile(path('sallyport.yaml'), JSON.stringify({ teleport: { storage }, proxy_service: { web_listen_addr: '127.0.0.1:0' } }))
    gateway = startProgram(bin('sallyport'), ['start', '-c', path('sallyport.yaml'), '--data-dir', path('data')])
    await gateway.saw('is up')
    return `http://127.0.0.1:${/listening on 127\.0\.0\.1:(\d+)/.exec(gateway.stdout())?.[1]}`
  }
  const stop = async (): Promise<void> => {
    gateway?.kill('SIGTERM')
    expect(await gateway?.ended).toMatchObject({ code: 0 })
  }
  const clone = async (src: unknown, dst: unknown, more = {}): Promise<Ended> => {
    await writeFile(path('clone.yaml'), JSON.stringify({ src, dst, ...more }))
    return await runProgram(bin('sallyport'), ['backend', 'clone', '--config', path('clone.yaml')])
  }
  const SQLITE = { type: 'sqlite', path: 'data' }
  const POSTGRES = { type: 'postgresql', conn_string_file: 'conn' }

  test('says what is wrong with its file, at once', async () => {
    const faults: [src: unknown, dst: unknown, more: object, code: number, says: string][] = [
      [{ type: 'sqlite' }, POSTGRES, {}, 2, 'src.path: required'],
      [SQLITE, { type: 'dynamodb' }, {}, 2, 'dst.type'],
      [SQLITE, POSTGRES, { force: true }, 2, 'never written over'],
      [SQLITE, POSTGRES, { target: 1 }, 2, 'target'],
      [SQLITE, SQLITE, {}, 2, 'src and dst are the same store'],
      [{ type: 'sqlite', path: 'nowhere' }, POSTGRES, { parallel: 100, force: false }, 6, 'src: there is no '],
      [POSTGRES, { type: 'sqlite', path: 'new' }, {}, 1, 'the source holds no cluster'],
    ]
    for (const [src, dst, more, code, says] of faults) {
      const ended = await clone(src, dst, more)
      expect([ended.code, ended.stderr]).toEqual([code, expect.stringContaining(says)])
      expect(ended.stdout).toBe('')
    }
  }, 120_000)

  test('moves a cluster that does not run, and nothing else', async () => {
    let url = await start({})
    const role = {
      kind: 'role',
      version: 'v8',
      metadata: { name: 'all' },
      spec: { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } },
    }
    await api(upsertResource, { kind: 'role', name: 'all', resource: role })
    const app = { kind: 'app', version: 'v3', metadata: { name: 'echo' }, spec: { uri: `mcp+${echo.url}` } }
    await api(upsertResource, { kind: 'app', name: 'echo', resource: app })
    const { path: invite } = await api(inviteUser, { name: 'ana', roles: ['all'] })
    await api(acceptInvite, { token: invite.split('/').at(-1) ?? '', password: PASSWORD })
    const { token } = await api(createApiToken, { user: 'ana' })
    await (await openRawSession(new URL(`${url}/mcp/apps/echo`), token)).call('echo', { text: 'before' })
    const before = await api(getResource, { kind: 'role', name: 'all' })
    const status = await runTctl(path('data'), 'status')

    const busy = await clone(SQLITE, POSTGRES)
    expect([busy.code, busy.stderr]).toEqual([1, expect.stringMatching(/process \d+ .*already uses the data directory/)])
    await stop()
    const moved = await clone(SQLITE, POSTGRES)
    expect(moved).toMatchObject({ code: 0, stderr: '' })
    expect(moved.stdout).toMatch(
      /Copied the file .*sallyport\.db to the database "postgres" at .*\n[^]* resources +\d+\n[^]*one unbroken chain of \d+ events\./,
    )
    const again = await clone(SQLITE, POSTGRES)
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('the destination is not empty')])

    url = await start({ type: 'postgresql', conn_string: postgres.connString })
    expect(await api(getResource, { kind: 'role', name: 'all' })).toEqual(before)
    expect((await runTctl(path('data'), 'status')).match(/sha256:\w+/)).toEqual(status.match(/sha256:\w+/))
    await (await openRawSession(new URL(`${url}/mcp/apps/echo`), token)).call('echo', { text: 'after' })
    expect(await new OAuthFlow({ url }).signIn('ana', { resource: `${url}/mcp` })).toMatchObject({ status: 200 })
    await eventually('both calls are in the log', async () => {
      const text = (await api(searchEvents, { limit: 1000 })).lines.join('\n')
      return (text.includes('"text":"before"') && text.includes('"text":"after"')) || undefined
    })
    expect(await runTctl(path('data'), 'audit', 'verify')).toContain('events are intact')

    const inUse = await clone(POSTGRES, { type: 'sqlite', path: 'back' })
    expect([inUse.code, inUse.stderr]).toEqual([
      1,
      expect.stringMatching(/src: the database "postgres" at .* is in use: Sallyport has \d+ connections/),
    ])
    await stop()
    expect(await clone(POSTGRES, { type: 'sqlite', path: 'back' })).toMatchObject({ code: 0, stderr: '' })
    url = await start({ type: 'sqlite', path: path('back') })
    await (await openRawSession(new URL(`${url}/mcp/apps/echo`), token)).call('echo', { text: 'back' })
    expect(await runTctl(path('data'), 'audit', 'verify')).toContain('events are intact')
    await stop()
  }, 180_000)
})
