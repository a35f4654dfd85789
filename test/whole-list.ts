import { eventually } from './wait.ts'

/** In the lists of several servers, where some did not answer within the second that they have. */
const UNAVAILABLE = 'sallyport.dev/unavailable'

/** A list of several servers with that of each in it: one that was slow the first time is asked for again. */
export function wholeList<T extends object>(ask: () => Promise<T>): Promise<T> {
  return eventually('the lists of all servers', async () => {
    const list = await ask()
    return isWhole(list) ? list : undefined
  })
}

function isWhole(list: object): boolean {
  const meta = '_meta' in list ? list._meta : undefined
  return !(typeof meta === 'object' && meta !== null && UNAVAILABLE in meta)
}
