import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { chainHash, genesisHash, renderChained } from '../../audit/chain.ts'
import type { WireAnswer, WireRequest } from '../../client/call.ts'
import { main } from './main.ts'

const ROLE = { kind: 'role', version: 'v8', metadata: { name: 'r', revision: '1' }, spec: {} }
const ROLE_YAML = 'kind: role\nversion: v8\nmetadata:\n  name: r\nspec: {}\n'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tctl-test-'))
})
afterEach(async () => await rm(folder, { recursive: true }))

test('YAML faults name file, line and column, and nothing is sent', async () => {
  const { code, err, sent } = await run(['create'], { stdin: 'kind: role\nversion: v8\nmetadata:\n  nam: r\nspec: {}\n' })
  expect(code).toBe(2)
  expect(err).toContain('stdin:4:3 metadata: unknown key "nam"')
  expect(sent).toEqual([])
})

test('a document without a kind, or of an unknown one, is refused at its place', async () => {
  expect((await run(['create'], { stdin: 'metadata: {name: x}\n' })).err).toMatch(/^ERROR: stdin:1:1 kind: required/)
  expect((await run(['create'], { stdin: `${ROLE_YAML}---\nkind: rolle\n` })).err).toMatch(
    /^ERROR: stdin:7:7 unsupported resource "rolle" \(did you mean "role"\?\)/,
  )
})

test('documents are applied one by one and a failure says how far it came', async () => {
  const answers = [ok({ resource: ROLE, created: true, warnings: ['w'] }), failure(409, 'already_exists', 'role "r" already exists')]
  const { code, out, err } = await run(['create'], { stdin: `${ROLE_YAML}---\n${ROLE_YAML}---\n${ROLE_YAML}`, answers })
  expect(code).toBe(6)
  expect(out).toBe('role "r" has been created\n')
  expect(err).toBe('WARNING: w\nERROR: document 2 of 3 in stdin, role "r": role "r" already exists\n1 applied, 2 not applied\n')
})

test('create -f replaces', async () => {
  const { out, sent } = await run(['create', '-f'], { stdin: ROLE_YAML, answers: [ok({ resource: ROLE, created: false, warnings: [] })] })
  expect(out).toBe('role "r" has been updated\n')
  expect(sent.map(({ method, path }) => [method, path])).toEqual([['PUT', '/v1/resources/role/r']])
})

test('get understands aliases, commas and formats', async () => {
  const { out, sent } = await run(['get', 'roles,role/r', '--format=json'], { answers: [ok({ items: [ROLE] }), ok(ROLE)] })
  expect(sent.map(({ path }) => path)).toEqual(['/v1/resources/role', '/v1/resources/role/r'])
  expect(JSON.parse(out)).toEqual([ROLE, ROLE])
})

test.each([
  ['role', 'name one role'],
  ['role/', 'is no reference'],
  ['gadget/x', 'unsupported resource "gadget"'],
  ['connector', 'name one oidc or github'],
])('rm %s is refused', async (ref, message) => {
  const { code, err, sent } = await run(['rm', ref])
  expect([code, sent]).toEqual([2, []])
  expect(err).toContain(message)
})

test('connectors are of two kinds, and a name is looked for in both', async () => {
  const missing = failure(404, 'not_found', 'oidc "corp" not found')
  const { out, sent } = await run(['rm', 'connector/corp'], { answers: [missing, ok({})] })
  expect(out).toBe('github "corp" has been deleted\n')
  expect(sent.map(({ path }) => path)).toEqual(['/v1/resources/oidc/corp', '/v1/resources/github/corp'])
  const listed = await run(['get', 'connectors', '--format=json'], { answers: [ok({ items: [] }), ok({ items: [ROLE] })] })
  expect(listed.sent.map(({ path }) => path)).toEqual(['/v1/resources/oidc', '/v1/resources/github'])
})

test.each(['get', 'rm', 'edit'])('%s of a misspelt name or kind suggests the nearest', async (command) => {
  const missing = failure(404, 'not_found', 'role "aces" not found')
  const named = (name: string) => ({ ...ROLE, metadata: { name } })
  const { code, err, sent } = await run([command, 'role/aces'], { answers: [missing, ok({ items: [named('editor'), named('access')] })] })
  expect([code, err]).toEqual([6, 'ERROR: role "aces" not found (did you mean "access"?)\n'])
  expect(sent.at(-1)?.path).toBe('/v1/resources/role')
  const forbidden = failure(403, 'permission_denied', 'no')
  expect((await run([command, 'role/aces'], { answers: [missing, forbidden] })).err).toBe('ERROR: role "aces" not found\n')
  expect((await run([command, 'rle/access'])).err).toContain('unsupported resource "rle" (did you mean "role"?)')
})

test('no name of a token is suggested', async () => {
  const { err, sent } = await run(['get', 'token/secre'], { answers: [failure(404, 'not_found', 'token not found')] })
  expect([err, sent.length]).toEqual(['ERROR: token not found\n', 1])
})

test.each([
  [['oidc', '--issuer-url=https://a.example', '--id=i'], '--claims-to-roles is required'],
  [['oidc', '--issuer-url=https://a.example', '--id=i', '-r', 'groups,admins'], 'names no role'],
  [['oidc', '--issuer-url=http://a.example', '--id=i', '-r', 'groups,admins,editor'], 'issuer_url: must be an https URL'],
  [['github', '--id=i', '-r', 'acme,platform,editor', '--redirect-url=https://p.example/elsewhere'], 'redirect_url'],
])('sso configure %j is refused', async (args, message) => {
  const { code, out, err } = await run(['sso', 'configure', ...args])
  expect([code, out]).toEqual([2, ''])
  expect(err).toContain(message)
})

test('sso configure prints a connector with what was given', async () => {
  const flags = ['--issuer-url=https://a.example', '--id=i', '--secret=s', '-r', 'groups,admins,editor,access', '-r', 'groups,team-*,dev']
  const { out } = await run(['sso', 'configure', 'oidc', '-n', 'corp', ...flags])
  expect(parse(out)).toEqual({
    kind: 'oidc',
    version: 'v3',
    metadata: { name: 'corp' },
    spec: {
      issuer_url: 'https://a.example',
      client_id: 'i',
      client_secret: 's',
      claims_to_roles: [
        { claim: 'groups', value: 'admins', roles: ['editor', 'access'] },
        { claim: 'groups', value: 'team-*', roles: ['dev'] },
      ],
    },
  })
  const github = await run(['sso', 'configure', 'github', '--id=i', '-r', 'acme,platform,editor'])
  expect(parse(github.out)).toMatchObject({
    metadata: { name: 'github' },
    spec: { teams_to_roles: [{ organization: 'acme', team: 'platform' }] },
  })
})

test('rm says what is gone; a denial gives 5', async () => {
  expect((await run(['rm', 'app/everything'], { answers: [ok({})] })).out).toBe('app "everything" has been deleted\n')
  const denied = await run(['rm', 'app/everything'], { answers: [failure(403, 'permission_denied', 'no')] })
  expect([denied.code, denied.err]).toEqual([5, 'ERROR: no\n'])
})

test('lock wants one target and one end', async () => {
  expect((await run(['lock'])).code).toBe(2)
  expect((await run(['lock', '--user=a', '--ttl=1h', '--expires=2030-01-01T00:00:00Z'])).err).toContain('only one of --ttl and --expires')
  const { out, sent } = await run(['lock', '--user=a', '--message=m', '--ttl=1h'], {
    answers: [ok({ resource: ROLE, created: true, warnings: [] })],
  })
  const { resource } = JSON.parse(sent[0]?.body ?? '')
  expect(resource.spec).toEqual({ target: { user: 'a' }, message: 'm', expires: '1970-01-01T01:00:00.000Z' })
  expect(out).toBe(`Created a lock with name "${resource.metadata.name}".\n`)
})

test('edit: unchanged text changes nothing; a conflict keeps the text', async () => {
  expect((await run(['edit', 'role/r'], { answers: [ok(ROLE)], editor: 'true' })).out).toBe('Nothing was changed.\n')
  const script = await editor('kind: role\nversion: v8\nmetadata:\n  name: r\nspec: {allow: {}}\n')
  const { code, err, sent } = await run(['edit', 'role/r'], {
    answers: [ok(ROLE), failure(409, 'aborted', 'changed by somebody else')],
    editor: script,
  })
  expect(code).toBe(6)
  expect(JSON.parse(sent[1]?.body ?? '').resource.metadata.revision).toBe('1')
  const kept = /kept in (\S+)/.exec(err)?.[1] ?? ''
  expect(await readFile(kept, 'utf8')).toContain('allow: {}')
  await rm(join(kept, '..'), { recursive: true })
})

test('edit: an invalid text is shown again with its fault, then kept', async () => {
  const { code, err } = await run(['edit', 'role/r'], {
    answers: [ok(ROLE)],
    editor: await editor('kind: role\nversion: v8\nmetadata:\n  name: other\nspec: {}\n'),
  })
  expect(code).toBe(2)
  expect(err).toContain('kind and name cannot be changed here: it was role "r"')
  await rm(join(/kept in (\S+)/.exec(err)?.[1] ?? '', '..'), { recursive: true })
})

test('edit: an interruption ends it, even when the editor always writes something new that is wrong', async () => {
  const controller = new AbortController()
  controller.abort()
  await writeFile(join(folder, 'editor.sh'), 'date +%N >> "$1"\n')
  const { err } = await run(['edit', 'role/r'], {
    answers: [ok(ROLE)],
    editor: `sh ${join(folder, 'editor.sh')}`,
    signal: controller.signal,
  })
  await rm(join(/kept in (\S+)/.exec(err)?.[1] ?? '', '..'), { recursive: true })
})

test('audit search wants a text or filters', async () => {
  const { code, out, sent } = await run(['audit', 'search', '--tool=echo', '--format=json'], { answers: [ok({ lines: [], next: null })] })
  expect([code, out]).toEqual([0, '[]\n'])
  expect(sent.map(({ path }) => path)).toEqual(['/v1/audit/events?tool=echo&order=desc&limit=50'])
})

test('audit search shows the reason of what was refused or failed, and of nothing else', async () => {
  const events = [
    {
      event: 'mcp.session.request',
      time: 't1',
      outcome: 'denied',
      decision: { allow: false, kind: 'no_tool', reason: 'no role allows it', by: null },
    },
    { event: 'instance.join', time: 't2', outcome: 'failure', error: 'wrong\u001b[31m secret' },
    { event: 'mcp.session.request', time: 't3', outcome: 'success', decision: { allow: true, by: 'dev' } },
  ]
  const lines = events.map((event) => JSON.stringify(event))
  const { out } = await run(['audit', 'search', 'x'], { answers: [ok({ lines, next: null })] })
  expect(out.split('\n').map((line) => line.trimEnd())).toEqual([
    'Time  Event                Code  User  Server  Tool  Outcome  Reason',
    '----  -------------------  ----  ----  ------  ----  -------  -----------------',
    't3    mcp.session.request                            success',
    't2    instance.join                                  failure  wrong\u{fffd}[31m secret',
    't1    mcp.session.request                            denied   no role allows it',
    '',
  ])
})

test('audit tail -f goes on behind the last record it showed', async () => {
  const line = (seq: number) => JSON.stringify({ event: 'e', code: 'c', time: `t${seq}`, uid: `${seq}`, chain: { seq } })
  const controller = new AbortController()
  const { out, sent } = await run(['audit', 'tail', '-f'], {
    answers: [ok({ lines: [line(7), line(4)], next: null }), ok({ lines: [line(9)], next: null })],
    signal: controller.signal,
    onSent: (count) => (count === 2 ? controller.abort() : undefined),
  })
  expect(out).toBe('t4  e  c\nt7  e  c\nt9  e  c\n')
  expect(sent[1]?.path).toBe('/v1/audit/events?order=asc&limit=500&after=7')
})

test('audit verify finds a changed record offline and gives 7', async () => {
  const file = join(folder, 'a.jsonl')
  await writeFile(file, `{"uid":"u","chain":{"seq":5,"prev":"${'0'.repeat(64)}","hash":"${'1'.repeat(64)}"}}\n`)
  const { code, out } = await run(['audit', 'verify', file])
  expect(code).toBe(7)
  expect(out).toMatch(/^BROKEN at line 1, seq 5 \(event u\): the record was changed/)
})

test('audit verify --noted finds out a log that was cut off', async () => {
  const file = join(folder, 'chain.jsonl')
  const links = [1, 2].map((seq) => ({ seq, text: JSON.stringify({ uid: `u${seq}`, cluster_name: 'c' }) }))
  let prev = genesisHash('c')
  const lines = links.map(({ seq, text }) => {
    const hash = chainHash(prev, text)
    const line = renderChained(text, { seq, prev, hash })
    prev = hash
    return line
  })
  await writeFile(file, `${lines.join('\n')}\n`)
  const whole = await run(['audit', 'verify', file])
  expect(whole.out).toBe(`OK: 2 events are intact.\nLast: seq 2, hash ${prev}\n`)
  expect(await run(['audit', 'verify', `--noted=2:${prev}`, file])).toMatchObject({ code: 0 })
  await writeFile(file, `${lines[0]}\n`)
  expect(await run(['audit', 'verify', file])).toMatchObject({ code: 0 })
  const cut = await run(['audit', 'verify', `--noted=2:${prev}`, file])
  expect(cut.code).toBe(7)
  expect(cut.out).toContain('the record noted before, seq 2, is missing or another')
  expect(await run(['audit', 'verify', '--noted=two', file])).toMatchObject({ code: 2 })
})

test('tokens add prints the token alone only where --format=text asks for it', async () => {
  const status = { cluster_name: 'c', version: '0', proxy_address: 'p:1', ca_pins: ['sha256:aa'], authorities: [] }
  const add = (...more: string[]) =>
    run(['tokens', 'add', '--type=app', '--value=secret', ...more], {
      answers: [ok({ resource: ROLE, created: true, warnings: [] }), ok(status)],
    })
  expect((await add()).out).toContain('--auth-server=p:1')
  expect((await add('--format=text')).out).toBe('secret\n')
  expect(JSON.parse((await add('--format=json')).out)).toMatchObject({ token: 'secret', roles: ['App'] })
})

test('bots add says what to do where the bot is there already', async () => {
  const { code, err } = await run(['bots', 'add', 'ci', '--roles=r'], { answers: [failure(409, 'already_exists', 'there')] })
  expect(code).toBe(6)
  expect(err).toContain('bot "ci" already exists')
  expect(err).toContain('tctl bots instances add ci')
})

test('an error is JSON with --format json', async () => {
  const { code, err } = await run(['status', '--format=json'], { answers: [failure(401, 'unauthenticated', 'who are you')] })
  expect(code).toBe(3)
  expect(JSON.parse(err)).toEqual({ error: { code: 'unauthenticated', message: 'who are you' } })
})

interface Given {
  stdin?: string
  answers?: WireAnswer[]
  editor?: string
  signal?: AbortSignal
  /** Told how many requests were sent by now. */
  onSent?: (count: number) => void
}

async function run(argv: string[], { stdin = '', answers = [], editor: program = 'false', signal, onSent }: Given = {}) {
  const sent: WireRequest[] = []
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const carrier = async (request: WireRequest): Promise<WireAnswer> => {
    sent.push(request)
    onSent?.(sent.length)
    return answers.shift() ?? failure(500, 'internal', 'not expected')
  }
  const code = await main(argv, {
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    env: { ...process.env, EDITOR: program },
    isTTY: false,
    carrier,
    now: () => 0,
    ...(signal ? { signal } : {}),
  })
  const text = (stream: PassThrough) =>
    stream
      .end()
      .toArray()
      .then((chunks) => Buffer.concat(chunks).toString())
  return { code, out: await text(stdout), err: await text(stderr), sent }
}

/** A program that puts this text into the file it is given. */
async function editor(text: string): Promise<string> {
  await writeFile(join(folder, 'text'), text)
  await writeFile(join(folder, 'editor.sh'), `cp ${join(folder, 'text')} "$1"\n`)
  return `sh ${join(folder, 'editor.sh')}`
}

function ok(body: unknown): WireAnswer {
  return { status: 200, body: JSON.stringify(body) }
}

function failure(status: number, code: string, message: string): WireAnswer {
  return { status, body: JSON.stringify({ error: { code, message } }) }
}
