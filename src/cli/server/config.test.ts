import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadConfig } from './config.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'config-test-'))
})
afterEach(async () => await rm(folder, { recursive: true }))

test('every fault of a file is named with its place, in one error', async () => {
  const text = 'teleport: {data_dri: x}\nproxy_service:\n  web_listen_addr: 5\napp_service:\n  resources:\n    - label: {env: dev}\n'
  const fault = await load(text).catch((thrown: unknown) => thrown)
  expect(fault).toMatchObject({ code: 'invalid_argument' })
  const lines = String(fault).split('\n')
  expect(lines.map((line) => line.replace(/^.*sallyport\.yaml:/, ''))).toEqual([
    '1:12 teleport: unknown key "data_dri" (did you mean "data_dir"?)',
    '3:20 proxy_service.web_listen_addr: expected string, received number',
    '6:7 app_service.resources[0].labels: required',
    '6:7 app_service.resources[0]: unknown key "label" (did you mean "labels"?)',
  ])
})

test('the shared section has two names, but only one of them at a time', async () => {
  await expect(load('teleport: {nodename: a}\nsallyport: {nodename: b}\n')).rejects.toThrow(
    /:2:12 sallyport: is another name for the section "teleport"/,
  )
  expect((await load('sallyport: {nodename: b}\n')).nodename).toBe('b')
  expect((await load('teleport: {nodename: a}\n')).nodename).toBe('a')
})

test('sections of teleport.yaml that we have no service for may be there to switch it off', async () => {
  await expect(load('ssh_service: {enabled: "yes"}\nkubernetes_service: {listen_addr: x}\n')).rejects.toThrow(
    /:1:14 ssh_service: Sallyport has no such service: remove the section, or write "enabled: no"\n.*:2:21 kubernetes_service: Sallyport has/,
  )
  expect((await load('ssh_service: {enabled: "no", commands: []}\ndebug_service: {enabled: false}\n')).auth.enabled).toBe(true)
})

test('a file as teleport configure writes it is taken, without the services that are not here', async () => {
  const config = await load(`version: v3
teleport:
  nodename: host
  data_dir: /var/lib/teleport
  log: {output: stderr, severity: INFO, format: {output: text}}
  ca_pin: ""
  diag_addr: ""
auth_service: {enabled: "yes", listen_addr: "0.0.0.0:3025", cluster_name: example.com, proxy_listener_mode: multiplex}
ssh_service: {enabled: "no"}
proxy_service:
  enabled: "yes"
  web_listen_addr: 0.0.0.0:443
  public_addr: example.com:443
  https_keypairs: []
  https_keypairs_reload_interval: 0s
  acme: {}
`)
  expect(config).toMatchObject({ diag: undefined, membership: undefined, auth: { cluster_name: 'example.com' } })
  await expect(load('proxy_service: {acme: {enabled: "yes"}}\n')).rejects.toThrow(/:1:33 proxy_service\.acme\.enabled/)
  await expect(load('auth_service: {proxy_listener_mode: separate}\n')).rejects.toThrow('proxy_listener_mode')
})

test('what keeps a file from being read is said', async () => {
  const missing = { file: join(folder, 'missing.yaml'), dataDirectory: undefined, env: {} }
  await expect(loadConfig(missing)).rejects.toThrow(/missing\.yaml: it does not exist$/)
})

test('two documents are refused, an empty file is the default', async () => {
  await expect(load('version: v3\n---\nversion: v3\n')).rejects.toThrow('a configuration file is one YAML document, this has 2')
  expect((await load('')).proxy.web_listen_addr).toBe('127.0.0.1:3080')
})

test('--data-dir wins over SALLYPORT_HOME, that over the file, whose paths begin at the file', async () => {
  const file = await write('teleport: {data_dir: store}\n')
  const directory = async (dataDirectory: string | undefined, env: Record<string, string>) =>
    (await loadConfig({ file, dataDirectory, env })).dataDirectory
  expect(await directory('/given', { SALLYPORT_HOME: '/home' })).toBe('/given')
  expect(await directory(undefined, { SALLYPORT_HOME: '/home' })).toBe('/home')
  expect(await directory(undefined, {})).toBe(join(folder, 'store'))
})

async function load(text: string) {
  return await loadConfig({ file: await write(text), dataDirectory: join(folder, 'data'), env: {} })
}

async function write(text: string): Promise<string> {
  const file = join(folder, 'sallyport.yaml')
  await writeFile(file, text)
  return file
}

test.each([
  ['3081', { host: '127.0.0.1', port: 3081 }],
  [':3081', { host: '127.0.0.1', port: 3081 }],
  ['0.0.0.0:3081', { host: '0.0.0.0', port: 3081 }],
  ['[::1]:0', { host: '::1', port: 0 }],
])('a diagnostics address %s', async (text, diag) => {
  expect((await load(`teleport: {diag_addr: "${text}"}\n`)).diag).toEqual(diag)
  expect((await loadConfig({ file: undefined, dataDirectory: folder, diagAddress: text, env: {} })).diag).toEqual(diag)
})

test('diagnostics are off unless set, and the flag wins over the file', async () => {
  expect((await load('')).diag).toBeUndefined()
  const file = await write('sallyport: {diag_addr: 3081}\n')
  expect((await loadConfig({ file, dataDirectory: folder, env: {} })).diag).toEqual({ host: '127.0.0.1', port: 3081 })
  expect((await loadConfig({ file, dataDirectory: folder, diagAddress: ':3082', env: {} })).diag).toEqual({ host: '127.0.0.1', port: 3082 })
  await expect(loadConfig({ file, dataDirectory: folder, diagAddress: 'x', env: {} })).rejects.toThrow('--diag-addr must be HOST:PORT')
  await expect(load('teleport: {diag_addr: "a b:1"}\n')).rejects.toThrow(/diag_addr: must be HOST:PORT/)
})

const AGENT = `version: v3
teleport:
  proxy_server: proxy.example.com:443
  join_params: {token_name: /etc/token, method: token}
  ca_pin: sha256:${'0'.repeat(64)}
auth_service: {enabled: no}
proxy_service: {enabled: no}
app_service: {enabled: yes, mcp_demo_server: yes, resources: [{labels: {env: dev}}]}
`

test('two names of the cluster, or of the token, are refused', async () => {
  await expect(load('teleport: {proxy_server: a:1, auth_server: b:1}\n')).rejects.toThrow('auth_server is another name for proxy_server')
  await expect(load('teleport: {proxy_server: a:1, auth_token: x, join_params: {token_name: y}}\n')).rejects.toThrow('keep one')
  await expect(load('teleport: {ca_pin: sha256:12}\n')).rejects.toThrow('must be sha256: and 64 hex digits')
  await expect(load('teleport: {proxy_server: "a b"}\n')).rejects.toThrow('is not a proxy address')
})

test('an agent alone knows its cluster from the file', async () => {
  const config = await load(AGENT)
  expect(config).toMatchObject({ auth: { enabled: false }, proxy: { enabled: false }, agent: { enabled: true, mcp_demo_server: true } })
  expect(config.membership).toMatchObject({
    proxy: { host: 'proxy.example.com', port: 443 },
    caPins: [`sha256:${'0'.repeat(64)}`],
    join: { method: 'token', token: '/etc/token' },
  })
  expect((await load('sallyport: {auth_server: a:1, auth_token: x}\n')).membership).toMatchObject({
    proxy: { host: 'a', port: 1 },
    caPins: [],
    join: { method: 'token', token: 'x' },
  })
  expect((await load('')).membership).toBeUndefined()
})

test('flags win over the file', async () => {
  const join = { token: 't', caPin: `sha256:${'1'.repeat(64)}`, authServer: 'other:2' }
  const config = await loadConfig({ file: await write(AGENT), dataDirectory: folder, join, roles: 'auth,proxy', env: {} })
  expect(config.membership).toMatchObject({
    proxy: { host: 'other', port: 2 },
    caPins: [`sha256:${'1'.repeat(64)}`],
    join: { method: 'token', token: 't' },
  })
  expect(config).toMatchObject({ auth: { enabled: true }, proxy: { enabled: true }, agent: { enabled: false } })
  await expect(loadConfig({ file: undefined, dataDirectory: folder, roles: 'app,db2', env: {} })).rejects.toThrow('not "db2"')
})

test('the store is a file in the data directory, one elsewhere, or a server', async () => {
  expect((await load('')).store).toBeUndefined()
  expect((await load('teleport: {storage: {type: sqlite}}\n')).store).toBeUndefined()
  expect((await load('teleport: {storage: {path: db}}\n')).store).toEqual({ type: 'sqlite', at: join(folder, 'db', 'sallyport.db') })
  const at = 'postgresql://sallyport:s@db/store'
  expect((await load(`teleport: {storage: {type: postgresql, conn_string: "${at}"}}\n`)).store).toEqual({ type: 'postgresql', at })
  await writeFile(join(folder, 'conn'), `${at}\n`)
  const file = 'teleport: {storage: {type: postgresql, conn_string_file: conn}}\n'
  expect((await load(file)).store).toEqual({ type: 'postgresql', at })
  expect((await load(`${file}auth_service: {enabled: no}\n`)).store).toBeUndefined()
  await expect(load('teleport: {storage: {type: postgresql}}\n')).rejects.toThrow('conn_string: required, or conn_string_file')
  await expect(load(`teleport: {storage: {conn_string: "${at}"}}\n`)).rejects.toThrow('conn_string: is for type: postgresql')
  await expect(load('teleport: {storage: {type: etcd}}\n')).rejects.toThrow('must be "sqlite" or "postgresql"')
})
