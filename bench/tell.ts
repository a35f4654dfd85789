import type { AddressInfo, Server } from 'node:net'

/** Listens on a free loopback port and tells it to the process that started this one; ends with that process. */
export function listenAndTell(server: Server): void {
  process.on('disconnect', () => process.exit(0))
  server.listen(0, '127.0.0.1', () => {
    const address: AddressInfo | string | null = server.address()
    if (typeof address === 'object' && address !== null) process.send?.({ port: address.port })
  })
}
