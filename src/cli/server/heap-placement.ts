import { setFlagsFromString } from 'node:v8'

/**
 * Keeps V8 from making objects in the old part of the heap where those before them lived long. It concludes that, once and for all calls to
 * come, from whatever the first calls leave behind: after a list of 300 servers, whose sessions stay, every later request began as an old object
 * that keeps all it points to until the next full collection. A call cost a fifth more. To be called before anything is served.
 */
export function placeObjectsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}
