/** Nothing is fetched yet. */
export function createDocumentFetch(): (url: string, init?: RequestInit) => Promise<Response> {
  return async () => {
    throw new Error('not yet')
  }
}
