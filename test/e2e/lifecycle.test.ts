import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { bin, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { within } from '../wait.ts'

// `sallyport start` as a process: what it says when it cannot start, and how it stops.

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
const started: Started[] = []

beforeEach(async () => {
  directory = await temporaryDirectory()
})

afterEach(async () => {
  for (const each of started.splice(0)) {
    each.kill('SIGKILL')
    await each.ended
  }
  await directory.dispose()
})

function start(config: string, dataDirectory = 'data'): Started {
  const program = startProgram(bin('sallyport'), ['start', '-c', config, '--data-dir', join(directory.path, dataDirectory)])
  started.push(program)
  return program
}

async function writeConfig(text: string): Promise<string> {
  const path = join(directory.path, 'sallyport.yaml')
  await writeFile(path, text)
  return path
}

it('says everything that is wrong with a configuration file, each with its place', async () => {
  const config = await writeConfig(`auth_service:
  cluster_name: "no good name"
proxy_service:
  web_listen_adr: 127.0.0.1:0
app_service:
  enabled: perhaps
`)
  const faults = ['2:17 auth_service.cluster_name', '4:3 proxy_service', '6:12 app_service.enabled'].map((place) => `${config}:${place}: `)
  for (const args of [
    ['start', '-c', config, '--data-dir', directory.path],
    ['config', 'check', config],
  ]) {
    const ended = await runProgram(bin('sallyport'), args)
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    for (const fault of faults) expect(ended.stderr).toContain(fault)
    expect(ended.stderr).toContain('web_listen_addr')
  }
})

it('finds no fault in a good configuration file', async () => {
  const config = await writeConfig('proxy_service:\n  web_listen_addr: 127.0.0.1:0\n')
  expect(await runProgram(bin('sallyport'), ['config', 'check', config])).toEqual({
    code: 0,
    stdout: `${config}: no faults found\n`,
    stderr: '',
  })
})

it('says that its port is taken, and leaves nothing behind', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const config = await writeConfig(`proxy_service:\n  web_listen_addr: 127.0.0.1:${port}\n`)
  const ended = await within('the end', start(config).ended)
  expect(ended).toMatchObject({ code: 1, stdout: '' })
  expect(ended.stderr).toContain(`ERROR: `)
  expect(ended.stderr).toContain(`127.0.0.1:${port}`)
  expect(await readdir(join(directory.path, 'data'))).not.toContain('instance.json')
  other.close()
})

it('refuses a data directory that another process uses, and says which', async () => {
  const config = await writeConfig('proxy_service:\n  web_listen_addr: 127.0.0.1:0\n')
  const first = start(config)
  await first.saw('is up')
  const second = await within('the end', start(config).ended)
  expect(second).toMatchObject({ code: 1, stdout: '' })
  expect(second.stderr).toContain(`already uses the data directory ${join(directory.path, 'data')}`)
  expect(second.stderr).toMatch(/ERROR: process \d+ /)

  first.kill('SIGTERM')
  expect(await within('the end', first.ended)).toMatchObject({ code: 0 })
  // Free again, at once.
  await start(config).saw('is up')
})
