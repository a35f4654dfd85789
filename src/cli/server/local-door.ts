import { createServer, type RequestListener } from 'node:http'
import { rm } from 'node:fs/promises'
import { prepareLocalSocket } from '../../client/local-carrier.ts'

/** The administrator's door: whoever may open this socket is one. Returns what closes it. */
export async function listenLocally(dataDirectory: string, handler: RequestListener): Promise<() => Promise<void>> {
  const path = prepareLocalSocket(dataDirectory)
  await rm(path, { force: true }) // ours: we hold the instance lock
  const server = createServer(handler)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // The socket is made within this call. Any longer, and what others make meanwhile, children among it, would have this mask too.
    const before = process.umask(0o177)
    try {
      server.listen(path, resolve)
    } finally {
      process.umask(before)
    }
  })
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
}
