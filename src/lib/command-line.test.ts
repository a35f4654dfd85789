import { EventEmitter } from 'node:events'
import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { build, fail, run, see } from './command-line.fixture.ts'
import { command, interruptSignal } from './command-line.ts'
import type { Invocation } from './command-rows.ts'
import { AppError } from './errors.ts'

describe('wrong usage does nothing and exits with 2', () => {
  it.each([
    ['mcp ls --formt json', "ERROR: unknown option '--formt'\n(Did you mean --format?)\n  fix: tsh mcp ls --help shows what it accepts\n"],
    ['mcp ls --role=a', "ERROR: unknown option '--role=a'\n(Did you mean --roles?)\n  fix: tsh mcp ls --help shows what it accepts\n"],
    ['mcp ls -proxy=x', "ERROR: unknown option '-proxy=x'\n(Did you mean --proxy?)\n  fix: tsh mcp ls --help shows what it accepts\n"],
    ['mcp ls --ident x', "ERROR: unknown option '--ident'\n(Did you mean --identity?)\n  fix: tsh mcp ls --help shows what it accepts\n"],
    ['mcp ls --nonsense', "ERROR: unknown option '--nonsense'\n  fix: tsh mcp ls --help shows what it accepts\n"],
    ['mcp lss', "ERROR: unknown command 'lss'\n(Did you mean ls?)\n  fix: tsh mcp --help shows what it accepts\n"],
    ['mpc ls', "ERROR: unknown command 'mpc'\n(Did you mean mcp?)\n  fix: tsh --help shows what it accepts\n"],
    ['mcp connect', "ERROR: missing required argument 'name'\n  fix: tsh mcp connect --help shows what it accepts\n"],
    [
      'mcp connect a b',
      "ERROR: too many arguments for 'connect'. Expected 1 argument but got 2: a, b.\n  fix: tsh mcp connect --help shows what it accepts\n",
    ],
    ['mcp ls --proxy', "ERROR: option '--proxy <address>' argument missing\n  fix: tsh --help shows what it accepts\n"],
    ['mcp ls --format jsn', 'ERROR: --format must be one of text, json, yaml, not "jsn" (did you mean json?)\n'],
    ['mcp ls --roles a,x', 'ERROR: --roles must be one of a, b, c, not "x"\n'],
    ['sign', 'ERROR: the flag --out is required (or set TSH_OUT)\n'],
    ['help mcp nope', 'ERROR: there is no command "mcp nope"\n  fix: tsh --help lists all commands\n'],
  ])('tsh %s', async (line, stderr) => {
    expect(await run(line)).toEqual({ code: 2, stdout: '', stderr })
  })

  it('the environment counts as usage', async () => {
    expect(await run('mcp ls', { env: { TSH_INSECURE: 'maybe' } })).toMatchObject({
      code: 2,
      stderr: 'ERROR: TSH_INSECURE must be true or false, not "maybe"\n',
    })
    expect(await run('mcp ls', { env: { TSH_FORMAT: 'protobuf' } })).toMatchObject({
      code: 2,
      stderr: 'ERROR: TSH_FORMAT must be one of text, json, yaml, not "protobuf"\n',
    })
  })

  it('a group alone shows its help on standard error', async () => {
    const { code, stdout, stderr } = await run('mcp')
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('  ls  List MCP servers\n')
  })
})

describe('errors of an action', () => {
  it('have the exit code, all lines, and the ways out', async () => {
    const error = new AppError('unauthenticated', 'your session expired\nit lasted 12h', {
      details: { fix: ['tsh login', 'then repeat the request'] },
    })
    expect(await fail(error)).toEqual({
      code: 3,
      stdout: '',
      stderr: 'ERROR: your session expired\nit lasted 12h\n  fix: tsh login\n  fix: then repeat the request\n',
    })
  })

  it.each(['--format json', '--format=json', '-f json', '-fjson'])('are JSON with %s, on standard error', async (format) => {
    const error = new AppError('permission_denied', 'no \u009brole', { details: { kind: 'no_role', code: 'forged' } })
    expect(await fail(error, `mcp ls ${format}`)).toEqual({
      code: 5,
      stdout: '',
      stderr: '{"error":{"code":"permission_denied","message":"no \\u009brole","kind":"no_role"}}\n',
    })
    expect(await run(`mcp ls ${format} --bogus`)).toEqual({
      code: 2,
      stdout: '',
      stderr:
        '{"error":{"code":"invalid_argument","message":"unknown option \'--bogus\'","fix":["tsh mcp ls --help shows what it accepts"]}}\n',
    })
  })

  it('show no details of what nobody expected, unless asked to', async () => {
    const unexpected = new TypeError('secret detail', { cause: new Error('deeper') })
    const quiet = await fail(unexpected)
    expect(quiet.code).toBe(1)
    expect(quiet.stderr).toMatch(
      /^ERROR: internal error \(id [0-9a-f-]{36}\)\n {2}fix: repeat the command with --debug to see the cause\n$/,
    )
    for (const line of ['-d mcp ls', 'mcp ls --debug']) {
      const { stderr } = await fail(unexpected, line)
      expect(stderr).toMatch(/caused by: TypeError: secret detail\n[^]*at [^]*caused by: Error: deeper/)
    }
    expect((await fail(unexpected, '-d mcp ls --no-debug')).stderr).not.toContain('secret')
  })

  it('cannot drive the terminal', async () => {
    expect((await fail(new AppError('not_found', 'no \u001b[2J\u202eapp'))).stderr).toBe('ERROR: no [2Japp\n')
  })

  it('end in the code the action gives, or 0', async () => {
    expect((await run('mcp ls', {}, async () => 7)).code).toBe(7)
    expect((await run('mcp ls', {}, async () => {})).code).toBe(0)
  })
})

describe('values', () => {
  it('takes global flags before and after the command, attached and apart', async () => {
    for (const line of ['--proxy a:1 mcp ls -i /id', 'mcp ls -i/id --proxy=a:1', 'mcp --proxy a:1 ls --identity=/id']) {
      expect(await see(line, (call) => [call.text('proxy'), call.text('identity')])).toEqual(['a:1', '/id'])
    }
  })

  it('prefers the flag to the environment, and that to the default; the first name that is set wins', async () => {
    const proxy = (call: Invocation): unknown => [call.text('proxy'), call.isGiven('proxy')]
    const env = { SALLYPORT_PROXY: '', TELEPORT_PROXY: 'second' }
    expect(await see('mcp ls --proxy flag', proxy, env)).toEqual(['flag', true])
    expect(await see('mcp ls', proxy, env)).toEqual(['second', true])
    expect(await see('mcp ls', proxy, { ...env, SALLYPORT_PROXY: 'first' })).toEqual(['first', true])
    expect(await see('mcp ls', proxy)).toEqual([undefined, false])
    expect(await see('mcp ls', (call) => [call.text('format'), call.isGiven('format')])).toEqual(['text', false])
  })

  it('turns --[no-]flags on and off', async () => {
    const insecure = (call: Invocation): unknown => [call.flag('insecure'), call.isGiven('insecure')]
    expect(await see('mcp ls', insecure)).toEqual([false, false])
    expect(await see('--insecure mcp ls', insecure)).toEqual([true, true])
    expect(await see('mcp ls --no-insecure', insecure, { TSH_INSECURE: 'yes' })).toEqual([false, true])
    expect(await see('mcp ls', insecure, { TSH_INSECURE: 'YES' })).toEqual([true, true])
  })

  it('collects lists from repeats and commas', async () => {
    expect(await see('mcp ls --roles a,b --roles c', (call) => call.list('roles'))).toEqual(['a', 'b', 'c'])
    expect(await see('mcp ls --roles=', (call) => call.list('roles'))).toEqual([])
    expect(await see('mcp ls', (call) => call.list('roles'), { TSH_ROLES: ' a , b' })).toEqual(['a', 'b'])
  })

  it('gives arguments, all after -- too, by their names', async () => {
    expect(await see('mcp ls a=b -- --c -d', (call) => [call.rest('labels'), call.argument('labels')])).toEqual([
      ['a=b', '--c', '-d'],
      'a=b',
    ])
    expect(await see('mcp list', (call) => [call.rest('labels'), call.argument('labels')])).toEqual([[], undefined])
  })

  it('a name that the row does not declare is a mistake in the code', async () => {
    expect((await run('mcp ls -d', {}, async (call) => void call.text('user'))).stderr).toContain('the command "mcp ls" declares no "user"')
  })
})

describe('help', () => {
  it('has examples before flags and loads no action', async () => {
    const expected = `tsh mcp ls — List MCP servers

Those you may use.

Usage
  tsh mcp ls [flags] [labels...]

Aliases
  tsh mcp list

Examples
  tsh mcp ls --format json   # for programs

Arguments
  labels  Only servers with these labels

Flags
  -f, --format text|json|yaml  Output format (default: text) (env: TSH_FORMAT)
      --roles a|b|c            Roles (env: TSH_ROLES)

Global flags
      --proxy <address>  Proxy address (env: SALLYPORT_PROXY, TELEPORT_PROXY)
  -i, --identity <file>  Identity file
      --[no-]insecure    Trust any server (env: TSH_INSECURE)
  -d, --[no-]debug       Show the causes and stacks of errors
  -h, --help             Show this help

Learn more: https://docs.example.com
`
    for (const line of ['mcp ls --help', 'mcp ls -h', 'help mcp ls', 'mcp ls a -f json --help']) {
      const { code, stdout, stderr } = await run(line)
      expect([code, stderr, stdout]).toEqual([0, '', expected])
    }
  })

  it('names choices behind the description where there are very many', async () => {
    expect((await run('sign --help')).stdout).toContain(`
      --out <file>  File (env: TSH_OUT)
      --by <key>    Key (one of: rsa, rsa-with-hardware, ecdsa, ecdsa-with-hardware, ed25519, ed25519-with-hardware, ed448, ed448-with-hardware)
`)
  })

  it('shows the first day without arguments, everything with --help, and the version', async () => {
    expect((await run('')).stdout).toBe(
      'tsh — reach MCP servers\n\nBegin with\n  tsh mcp ls  List MCP servers\n\nAll commands: tsh --help\nLearn more: https://docs.example.com\n',
    )
    expect((await run('--help')).stdout).toContain(
      'Commands\n  mcp\n  sign  Sign\n  help  Show the help of a command, or what exit codes mean\n',
    )
    expect(await run('--version')).toEqual({ code: 0, stdout: '1.2.3\n', stderr: '' })
    expect((await run('help exit-codes')).stdout).toContain('  124  deadline_exceeded\n  130  cancelled\n')
  })
})

describe('the outside world', () => {
  it('interrupts with 130, quietly, once the action has ended', async () => {
    const interrupt = new AbortController()
    const { promise: cleaned, resolve } = Promise.withResolvers<void>()
    const result = await run('mcp ls', { signal: interrupt.signal }, async ({ signal }) => {
      interrupt.abort()
      signal.throwIfAborted()
      resolve()
    })
    expect(result).toEqual({ code: 130, stdout: '', stderr: '' })
    const graceful = await run('mcp ls', { signal: interrupt.signal }, async () => resolve())
    expect(graceful.code).toBe(130)
    await cleaned
    expect((await run('mcp ls', { signal: interrupt.signal }, async () => 0)).code).toBe(0)
  })

  it('leaves an action that does not listen', async () => {
    const interrupt = new AbortController()
    const result = await run('mcp ls', { signal: interrupt.signal }, () => {
      interrupt.abort()
      return new Promise(() => {})
    })
    expect(result.code).toBe(130)
  })

  it('hears the first signal only', () => {
    const source = new EventEmitter()
    const signal = interruptSignal(source)
    expect(signal.aborted).toBe(false)
    source.emit('SIGINT')
    expect(signal.aborted).toBe(true)
    expect(source.emit('SIGINT')).toBe(true) // of the same Ctrl-C: from the terminal, and passed on by a launcher
    expect(source.emit('SIGINT')).toBe(false) // nobody listens: it ends the process
  })

  it('ends quietly when nobody reads, and says so when the disk is full', async () => {
    const broken = (code: string): Writable =>
      new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error(`write ${code}`), { code })) })
    const endless = ({ io }: Invocation): Promise<void> => {
      io.stdout.write('x')
      return new Promise(() => {})
    }
    expect(await run('mcp ls', { stdout: broken('EPIPE') }, endless)).toMatchObject({ code: 0, stderr: '' })
    expect(await run('mcp ls', { stdout: broken('ENOSPC') }, endless)).toMatchObject({
      code: 1,
      stderr: 'ERROR: cannot write to standard output: write ENOSPC\n',
    })
  })
})

it('refuses commands that would hide each other', () => {
  const program = build()
  expect(() => command(program, { path: 'mcp ls', summary: '' })).toThrow('two commands are called "mcp ls"')
  expect(() => command(program, { path: 'x', summary: '', options: [{ flags: '-i, --input <file>', description: '' }] })).toThrow(
    '"x" would have two flags -i',
  )
  expect(() => command(program, { path: 'x', summary: '', options: [{ flags: '--debug', description: '' }] })).toThrow(
    '"x" would have two flags --debug',
  )
  expect(() => command(program, { path: 'x', summary: '', options: [{ flags: '-input', description: '' }] })).toThrow(
    'malformed flags: -input',
  )
})
