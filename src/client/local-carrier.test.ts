import { createServer } from 'node:http'
import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLocalCarrier, localSocketPath, prepareLocalSocket } from './local-carrier.ts'

const REQUEST = { method: 'GET', path: '/v1/status', headers: {}, body: undefined }
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'local-'))
})
afterEach(async () => await rm(folder, { recursive: true }))

test('without a server: unavailable, naming the directory', async () => {
  await expect(createLocalCarrier(folder)(REQUEST)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining(`no Auth Service is running on ${folder}`),
  })
})

test('a folder in the temp directory that others can open, or a link, is refused on both sides', async () => {
  const data = await longDirectory()
  const socketFolder = join(localSocketPath(data, folder), '..')
  await mkdir(socketFolder, { mode: 0o755 })
  await chmod(socketFolder, 0o755)
  expect(() => prepareLocalSocket(data, folder)).toThrow('is not a private folder')
  await expect(createLocalCarrier(data, { temporaryDirectory: folder })(REQUEST)).rejects.toThrow('is not a private folder')
  await rm(socketFolder, { recursive: true })
  await symlink(folder, socketFolder)
  expect(() => prepareLocalSocket(data, folder)).toThrow('is not a private folder')
})

test.each(['short', 'long'])('a call over the socket of a %s path', async (kind) => {
  const data = kind === 'long' ? await longDirectory() : folder
  const path = prepareLocalSocket(data, folder)
  expect(Buffer.byteLength(path)).toBeLessThanOrEqual(100)
  const server = createServer((request, response) => response.end(`${request.method} ${request.url}`))
  await new Promise<void>((fulfil) => server.listen(path, fulfil))
  try {
    expect(await createLocalCarrier(data, { temporaryDirectory: folder })(REQUEST)).toEqual({ status: 200, body: 'GET /v1/status' })
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

async function longDirectory(): Promise<string> {
  const data = join(folder, 'd'.repeat(120))
  await mkdir(data, { recursive: true })
  return data
}
