import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiToken } from '../../src/api/api-tokens.ts'
import { upsertResource } from '../../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../../src/api/users.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { PASSWORD } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../fakes/postgres.ts'
import { freePort } from '../free-port.ts'
import { bin, type Ended, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually, within } from '../wait.ts'
import { openRawSession } from './raw-session.ts'

// `sallyport start` while its database comes and goes.

const ALL = { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } }

describe.skipIf(POSTGRES_BIN === undefined)('while the database is away', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>
  let postgres: TestPostgres
  let echo: EchoHttp
  let gateway: Started
  let api: ApiClient
  let url: string

  beforeAll(async () => {
    directory = await temporaryDirectory()
    ;[postgres, echo] = await Promise.all([startPostgres(), startEchoHttp()])
    api = createApiClient(createLocalCarrier(join(directory.path, 'data')))
  }, 60_000)
  afterAll(async () => {
    gateway?.kill('SIGKILL')
    await gateway?.ended
    await echo?.close()
    await postgres?.close()
    await directory?.dispose()
  })

  const launch = async (connString: string, data = 'data', diagnosticsAt = '127.0.0.1:0'): Promise<Started> => {
    const config = join(directory.path, `${data}.yaml`)
    const section = {
      teleport: { storage: { type: 'postgresql', conn_string: connString } },
      proxy_service: { web_listen_addr: '127.0.0.1:0' },
    }
    await writeFile(config, JSON.stringify(section))
    const place = ['--data-dir', join(directory.path, data), '--diag-addr', diagnosticsAt]
    return startProgram(bin('sallyport'), ['start', '-c', config, ...place])
  }
  const ended = (program: Started): Promise<Ended> => within('the program ends', program.ended, 30_000)

  test('a password or database that is wrong is said at once', async () => {
    await postgres.configure({
      'pg_hba.conf': 'local all all trust\nhost all guest 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n',
    })
    await postgres.admin("create role guest login password 'other'")
    const at = (user: string, database: string) => `postgresql://${user}:wrong@127.0.0.1:${postgres.port}/${database}`
    for (const [conn, says] of [
      [at('guest', 'postgres'), 'refuses the user or password'],
      [at('postgres', 'missing'), 'there is no database of the name in conn_string'],
    ] as const) {
      const { code, stderr } = await ended(await launch(conn, 'wrong'))
      expect([code, stderr]).toEqual([4, expect.stringContaining(says)])
      expect(stderr).not.toContain('waiting')
    }
  })

  test('a start waits for it, says so, is not ready, and goes on by itself', async () => {
    await postgres.stop()
    const stopped = await launch(postgres.connString, 'stopped')
    await eventually('it waits', () => stopped.stderr().includes('waiting for it') || undefined)
    stopped.kill('SIGTERM')
    expect(await ended(stopped)).toMatchObject({ code: 0, stdout: '' })

    const diagnostics = `127.0.0.1:${await freePort()}`
    gateway = await launch(postgres.connString, 'data', diagnostics)
    await eventually('it waits', () => gateway.stderr().includes('waiting for it') || undefined)
    expect(gateway.stderr()).toMatch(
      /"error":"cannot use the database \\"postgres\\" at 127\.0\.0\.1:\d+ as \\"postgres\\": .*ECONNREFUSED.*"next_try_ms":1000,"gives_up_ms":\d+/,
    )
    expect((await fetch(`http://${diagnostics}/readyz`)).status).toBe(503)
    expect((await fetch(`http://${diagnostics}/healthz`)).status).toBe(200)
    await postgres.start()
    await within('it is up', gateway.saw('is up'), 60_000)
    expect((await fetch(`http://${diagnostics}/readyz`)).status).toBe(200)
    url = `http://127.0.0.1:${/listening on 127\.0\.0\.1:(\d+)/.exec(gateway.stdout())?.[1]}`
  }, 120_000)

  /** What people, clients and administrators do; how each ends, and that it does. */
  const tour = async (
    known: { token: string; session: Awaited<ReturnType<typeof openRawSession>> },
    strange: string,
    refresh: () => Promise<unknown>,
  ) => {
    const one = async (what: Promise<unknown>): Promise<unknown> =>
      await within(
        'an answer',
        what.catch((thrown: unknown) => String(thrown)),
        45_000,
      )
    const signIn = async (): Promise<unknown> => {
      const browser = new PlainBrowser()
      const page = await browser.open(`${url}/web/account`)
      return (await browser.submit(page, { user: 'ana', password: PASSWORD })).text
    }
    const [call, again, newcomer, page, tctl, token, oneUrl] = await Promise.all([
      one(known.session.call('echo', { text: 'during' }).then(({ status }) => status)),
      one(openRawSession(new URL(`${url}/mcp/apps/echo`), known.token).then(() => 'opened')),
      one(openRawSession(new URL(`${url}/mcp/apps/echo`), strange)),
      one(signIn()),
      one(runProgram(bin('tctl'), ['get', 'roles', '--data-dir', join(directory.path, 'data')])),
      one(refresh()),
      one(openRawSession(new URL(`${url}/mcp`), known.token).then(() => 'opened')),
    ])
    return { call, again, newcomer, page, tctl, token, oneUrl }
  }

  test.each([
    ['gone', async () => await postgres.stop(), async () => await postgres.start()],
    ['frozen', async () => await signalServer('SIGSTOP'), async () => await signalServer('SIGCONT')],
  ])(
    'a database that is %s while all runs keeps nobody waiting, and all comes back',
    async (how, leave, comeBack) => {
      await api(upsertResource, {
        kind: 'role',
        name: 'all',
        resource: { kind: 'role', version: 'v8', metadata: { name: 'all' }, spec: ALL },
      })
      await api(upsertResource, {
        kind: 'app',
        name: 'echo',
        resource: { kind: 'app', version: 'v3', metadata: { name: 'echo' }, spec: { uri: `mcp+${echo.url}` } },
      })
      if (how === 'gone') {
        const { path } = await api(inviteUser, { name: 'ana', roles: ['all'] })
        await api(acceptInvite, { token: path.split('/').at(-1) ?? '', password: PASSWORD })
      }
      const [{ token }, { token: strange }] = [await api(createApiToken, { user: 'ana' }), await api(createApiToken, { user: 'ana' })]
      const flow = new OAuthFlow({ url })
      const tokens = await flow.signIn('ana', { resource: `${url}/mcp`, scope: 'mcp offline_access' })
      const session = await openRawSession(new URL(`${url}/mcp/apps/echo`), token)
      await openRawSession(new URL(`${url}/mcp`), token)
      await leave()
      const during = await tour({ token, session }, strange, async () => {
        const answer = await flow.refresh(tokens.refresh_token)
        return answer
      })
      expect(during).toMatchObject({ call: 200, again: 'opened', oneUrl: 'opened' })
      expect(during.newcomer).toContain('no session: 503')
      expect(during.tctl).toMatchObject({ code: 4, stderr: expect.stringContaining('the database ') })
      expect(during.token).toMatchObject({ status: 503, error: 'temporarily_unavailable' })
      expect(during.page).toMatch(/^Error: no form at .*<h1>This does not work<\/h1>.*<p class="told">the cluster&#/s)
      const [, id] = /store cannot be reached: try again \(id ([\w-]+)\)/.exec(String(during.newcomer)) ?? []
      expect(gateway.stderr()).toMatch(new RegExp(`"error_id":"${id}","error":{"name":"AppError","message":"the database `))
      expect(JSON.stringify([during.newcomer, during.page])).not.toMatch(/conn_string|ECONN|the database/)
      expect((await fetch(`${url}/web/style.css`)).status).toBe(200)
      await comeBack()
      await eventually(
        'changes are possible',
        () =>
          api(createApiToken, { user: 'ana' }).then(
            () => true,
            () => undefined,
          ),
        60_000,
      )
      const after = await tour({ token, session }, strange, () => flow.signIn('ana', { resource: `${url}/mcp` }))
      expect(after).toMatchObject({
        call: 200,
        again: 'opened',
        oneUrl: 'opened',
        tctl: { code: 0 },
        token: { status: 200 },
        page: expect.stringContaining('You are <b>ana</b>'),
      })
    },
    180_000,
  )

  let frozen: number[] = []
  const signalServer = async (signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> => {
    if (signal === 'SIGSTOP') {
      const rows = await postgres.admin(
        "select pid from pg_stat_activity union select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int",
      )
      frozen = rows.map(({ pid }) => Number(pid))
    }
    for (const pid of frozen) {
      try {
        process.kill(pid, signal)
      } catch {
        // the session that asked is over
      }
    }
  }
})
