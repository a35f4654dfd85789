import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DatabaseStory, startDatabaseStory } from '../database-story.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { bin, runProgram } from '../programs.ts'

// The commands of a person: tsh db ls, tsh mcp db config and start, and those of the administrator: tctl auth sign and export.

const URI = 'teleport://clusters/test/databases/orders?dbUser=reader&dbName=shop'

let story: DatabaseStory
let folder: string
let login: string[]

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  story = await startDatabaseStory()
  folder = await mkdtemp(join(tmpdir(), 'sallyport-db-'))
  const { cluster } = story
  await cluster.saveUser('alice', ['reads'])
  login = ['-i', await cluster.identityFileOf('alice'), `--proxy=${new URL(cluster.url).host}`]
}, 60_000)

afterAll(async () => {
  await story?.close()
  if (folder) await rm(folder, { recursive: true, force: true })
})

const tsh = (...args: string[]) => runProgram(bin('tsh'), [...args, ...login])
const tctl = (...args: string[]) => runProgram(bin('tctl'), ['--data-dir', story.cluster.dataDirectory, ...args], { cwd: folder })

describe.skipIf(POSTGRES_BIN === undefined)('commands about databases', () => {
  it('list what the caller may use', async () => {
    expect(await tsh('db', 'ls')).toMatchObject({
      code: 0,
      stdout: [
        'Name    Description         Allowed Users  Allowed Names  Labels',
        '------  ------------------  -------------  -------------  --------',
        'orders  Orders of the shop  [reader]       [shop]         env=test',
        '',
      ].join('\n'),
    })
    const { stdout } = await tsh('db', 'ls', 'env=test', '-f', 'json')
    expect(JSON.parse(stdout)).toMatchObject([{ kind: 'db', metadata: { name: 'orders' }, users: { allowed: ['reader'], denied: [] } }])
    expect((await tsh('db', 'ls', 'env=prod')).stderr).toContain('None of your databases matches')
  })

  it('write one entry for all databases of a person into the file of a client', async () => {
    const file = join(folder, 'claude.json')
    await writeFile(
      file,
      JSON.stringify({
        mcpServers: {
          other: { command: 'x' },
          'teleport-databases': {
            command: 'old',
            args: ['mcp', 'db', 'start', `${URI}x`, 'teleport://clusters/test/databases/more?dbUser=a&dbName=b'],
            env: { A: '1' },
          },
        },
      }),
    )
    const config = (...more: string[]) =>
      tsh('mcp', 'db', 'config', 'orders', '--db-user=reader', '--db-name=shop', `--client-config=${file}`, ...more)
    expect((await config()).stdout).toContain('Updated database "orders" on the client configuration at:')
    const written = async (): Promise<{ args: string[]; env: unknown }> =>
      JSON.parse(await readFile(file, 'utf8')).mcpServers['teleport-databases']
    const { args, env } = await written()
    expect(args.slice(-2)).toEqual(['teleport://clusters/test/databases/more?dbUser=a&dbName=b', URI])
    expect(args.slice(-6, -2)).toEqual(['-i', login[1], '--proxy', new URL(story.cluster.url).host])
    expect(env).toEqual({ A: '1' })
    await config('--overwrite')
    expect((await written()).env).toEqual({})
    expect(await tsh('mcp', 'db', 'config', 'nothing', '-u', 'a', '-n', 'b')).toMatchObject({
      code: 6,
      stderr: expect.stringContaining('"nothing" not found'),
    })
    expect(await tsh('mcp', 'db', 'config', 'orders')).toMatchObject({ code: 2 })
    expect((await tsh('mcp', 'db', 'config', 'orders', '-u', 'reader', '-n', 'shop')).stdout).toContain(`"${URI}"`)
  })

  it('serve these databases to a client over stdio', async () => {
    const client = new Client({ name: 'test', version: '1.0.0' })
    const env = { PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`, HOME: folder }
    await client.connect(
      new StdioClientTransport({ command: bin('tsh'), args: ['mcp', 'db', 'start', ...login, URI], env, stderr: 'inherit' }),
    )
    const query = async (database: string, sql: string) => {
      const { content, isError } = await client.callTool({ name: 'teleport_postgres_query', arguments: { database, query: sql } })
      return [isError === true, content[0]?.type === 'text' ? content[0].text : '']
    }
    const other = 'teleport://clusters/test/databases/orders?dbUser=writer&dbName=shop'
    expect(await query(other, 'SELECT 1')).toEqual([true, expect.stringContaining('is not offered here')])
    expect(await query('orders', 'SELECT 1')).toEqual([true, expect.stringContaining('this is not the URI of a database')])
    expect(await query(URI, 'DELETE FROM orders')).toEqual([true, expect.stringContaining('read-only')])
    expect(await query(URI, 'SELECT note FROM orders ORDER BY id LIMIT 1')).toEqual([
      false,
      '{"results":[{"data":[{"note":"first"}],"rows_count":1}]}',
    ])
    const { content } = await client.callTool({ name: 'teleport_list_databases' })
    expect(JSON.parse(content[0]?.type === 'text' ? content[0].text : '')).toMatchObject({
      databases: [{ uri: URI, description: 'Orders of the shop' }],
    })
    expect((await client.listResources()).resources.map(({ uri }) => uri)).toEqual([URI])
    await client.close()
  })

  it('refuse URIs that are none, incomplete ones, and one twice', async () => {
    for (const uris of [
      ['x'],
      ['teleport://clusters/test/databases/orders'],
      [URI, URI],
      [URI, URI.replace('clusters/test', 'clusters/other')],
    ])
      expect(await tsh('mcp', 'db', 'start', ...uris)).toMatchObject({ code: 2, stdout: '' })
  })

  it('give a database server its files, and its authority alone', async () => {
    expect(await tctl('auth', 'sign', '--format=db', '--out=server')).toMatchObject({ code: 2, stderr: expect.stringContaining('--host') })
    expect((await tctl('auth', 'sign', '--format=db', '--host=pg.internal,10.0.0.1', '--out=server')).stdout).toContain('ssl_ca_file')
    expect(await readFile(join(folder, 'server.key'), 'utf8')).toContain('BEGIN PRIVATE KEY')
    expect(await tctl('auth', 'sign', '--format=db', '--host=pg.internal', '--out=server')).toMatchObject({ code: 6 })
    const { stdout } = await tctl('auth', 'export', '--type=db-client')
    expect(stdout).toBe(await readFile(join(folder, 'server.cas'), 'utf8'))
  })
})
