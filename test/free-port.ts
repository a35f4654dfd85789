import { createServer } from 'node:net'

/** The systems' own ranges for who asks for any port begin at 32768 (Linux) and 49152 (macOS): nobody who connects is given one of these. */
const FIRST = 20_000
const LAST = 32_000
const TRIES = 50

/** A port of loopback that nobody listens on, and that stays free until it is used, and between two uses. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
    if (await isFree(port)) return port
  }
  throw new Error(`no free port between ${FIRST} and ${LAST} in ${TRIES} tries`)
}

function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
