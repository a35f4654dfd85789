import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Ended, ROOT, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { within } from '../wait.ts'

// What a stranger meets: `npm start`, and the lines it prints, run as they stand there.

const LAST_LINE = '# cuts demo off'

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let quickstart: Started | undefined

beforeAll(async () => {
  directory = await temporaryDirectory()
})

afterAll(async () => {
  quickstart?.kill('SIGKILL')
  await quickstart?.ended
  await directory.dispose()
})

// The directory has a blank in its name, as many a home directory has.
const dataDirectory = (): string => join(directory.path, 'demo data')

async function start(...options: string[]): Promise<Started> {
  const args = [join(ROOT, 'src/cli/server/quickstart.ts'), `--data-dir=${dataDirectory()}`, ...options]
  quickstart = startProgram(process.execPath, args, { env: { HOME: directory.path } })
  await quickstart.saw(LAST_LINE)
  return quickstart
}

/** The commands of the printed text, in order. */
function commandsOf({ stdout }: Started): string[] {
  return stdout()
    .split('\n')
    .filter((line) => line.startsWith('  '))
    .map((line) => line.trim())
}

/** Types a printed line into a shell. */
function type(line: string | undefined): Promise<Ended> {
  return runProgram('bash', ['-c', line ?? 'exit 99'], { env: { HOME: directory.path } })
}

async function stop({ kill, ended }: Started): Promise<Ended> {
  kill('SIGTERM')
  return within('the end of the quickstart', ended, 20_000)
}

it('refuses options that it does not know, in one sentence', async () => {
  const script = join(ROOT, 'src/cli/server/quickstart.ts')
  const unknown = await runProgram(process.execPath, [script, '--prot=1'])
  expect(unknown).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^ERROR: .*--prot.*\n$/) })
  const port = await runProgram(process.execPath, [script, '--port=70000'])
  expect(port).toMatchObject({ code: 2, stdout: '', stderr: 'ERROR: --port is a number from 1 to 65535, not "70000"\n' })
})

it('works line by line as it is printed, keeps one tool back, and locks', { timeout: 120_000 }, async () => {
  const [login, list, call, denied, config, audit, lock] = commandsOf(await start('--port=4280'))

  const signedIn = await type(login)
  expect(signedIn).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in as:       demo') })
  const listed = await type(list)
  expect(listed).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/everything .*stdio .*\n.*everything-http .*HTTP /) })
  expect(await type(call)).toEqual({ code: 0, stdout: 'Echo: hello\n', stderr: '' })
  expect(await type(denied)).toEqual({
    code: 5,
    stdout: '',
    stderr: 'ERROR: access to tool "get-env" of MCP server "everything" denied by a deny rule; ask your administrator\n',
  })
  expect(await type(config)).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('"mcpServers"') })
  expect(await type(audit)).toMatchObject({
    code: 0,
    stderr: '',
    stdout: expect.stringMatching(/TMCP003I .*everything +echo +success\n[^]*TMCP003E .*everything +get-env +denied +\S.*\n/),
  })
  expect(await type(lock)).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^Created a lock with name /) })

  const locked = await type(call)
  expect(locked).toMatchObject({ code: 5, stdout: '', stderr: expect.stringContaining('lock targeting user:"demo" is in force: lunch') })
})

it('says in which program another start is running, and ends', async () => {
  const second = await runProgram(process.execPath, [
    join(ROOT, 'src/cli/server/quickstart.ts'),
    `--data-dir=${dataDirectory()}`,
    '--port=4290',
  ])
  expect(second).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^ERROR: process \d+ .* already uses the data directory /),
  })
})

it('starts a second time on the same data, beside whoever took the port, with the lock still in force', { timeout: 60_000 }, async () => {
  if (!quickstart) throw new Error('the first start failed')
  expect(await stop(quickstart)).toMatchObject({ code: 0, stderr: '' })

  const other = await listenOn(4280)
  try {
    const again = await start('--port=4280')
    expect(again.stdout()).toContain('Port 4280 is taken, trying 4281.')
    const [login] = commandsOf(again)
    expect(await type(login)).toMatchObject({ code: 5, stderr: expect.stringContaining('lunch') })
    expect(await stop(again)).toMatchObject({ code: 0, stderr: '' })
  } finally {
    await new Promise((resolve) => other.close(resolve))
  }
})

async function listenOn(port: number): Promise<Server> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return server
}
