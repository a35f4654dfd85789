import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bin, runProgram } from '../../../test/programs.ts'
import { loadConfig } from './config.ts'
import { outputPath } from './configure.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'configure-test-'))
})
afterEach(async () => await rm(folder, { recursive: true }))

const configure = (...args: string[]) => runProgram(bin('sallyport'), ['configure', ...args])

test('asks for what is missing, and overwrites nothing', async () => {
  expect((await configure('--roles=app')).stderr).toContain('--proxy is required')
  expect((await configure('--proxy=a:1', '--app-name=x')).stderr).toContain('--app-name and --app-uri go together')
  expect((await configure('--roles=node', '--proxy=a:1')).stderr).toContain('configure knows --roles=app')
  const file = join(folder, 'a.yaml')
  expect((await configure('--proxy=a:1', '-o', file)).code).toBe(0)
  expect((await configure('--proxy=a:1', '-o', file)).stderr).toContain('is there already')
}, 60_000)

test('-o is spelled as for teleport configure', () => {
  expect(outputPath('file')).toBe('/etc/sallyport.yaml')
  expect(outputPath('file:///srv/a.yaml')).toBe('/srv/a.yaml')
  expect(outputPath('/srv/a.yaml')).toBe('/srv/a.yaml')
})

test('writes a file that starts the agent it is for', async () => {
  const file = join(folder, 'agent.yaml')
  const app = ['--mcp-demo-server', '--app-name=crm', '--app-uri=mcp+https://crm.internal/mcp']
  await configure('--roles=app', '--proxy=proxy.example.com', '--token=/etc/token', `--ca-pin=sha256:${'a'.repeat(64)}`, ...app, '-o', file)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(await readFile(file, 'utf8')).toContain('proxy_server: proxy.example.com:443')
  const config = await loadConfig({ file, dataDirectory: folder, env: {} })
  expect(config).toMatchObject({ auth: { enabled: false }, proxy: { enabled: false }, agent: { enabled: true, mcp_demo_server: true } })
  expect(config.membership).toMatchObject({ join: { method: 'token', token: '/etc/token' }, caPins: [`sha256:${'a'.repeat(64)}`] })
  expect(config.agent.apps[0]).toMatchObject({ metadata: { name: 'crm' }, spec: { uri: 'mcp+https://crm.internal/mcp' } })
}, 60_000)
