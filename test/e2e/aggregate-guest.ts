import type { Guest } from './everything-guest.ts'
import { wholeList } from '../whole-list.ts'

/**
 * A guest at the URL of all servers as if it were at one: names and URIs of `server` are made those of all, and back; what is of other servers
 * is left out.
 */
export function asGuestOf(server: string, guest: Guest): Guest {
  const nameOf = (own: string): string => `${server}_${own}`
  const uriOf = (own: string): string => `sallyport://${server}/${own}`
  const own = async <T>(result: Promise<T>): Promise<T> => {
    try {
      return strip(server, await result)
    } catch (error) {
      throw error instanceof Error ? Object.assign(error, { message: strip(server, error.message) }) : error
    }
  }
  return {
    ...guest,
    listTools: async () => ({
      tools: strip(
        server,
        (await wholeList(() => guest.listTools())).tools.filter(({ name }) => name.startsWith(nameOf(''))),
      ),
    }),
    callTool: (name, args, options) => own(guest.callTool(nameOf(name), args, options)),
    callAsTask: guest.callAsTask && ((name, args) => own(guest.callAsTask?.(nameOf(name), args) ?? Promise.resolve())),
    listPrompts: async () => ({
      prompts: strip(
        server,
        (await wholeList(() => guest.listPrompts())).prompts.filter(({ name }) => name.startsWith(nameOf(''))),
      ),
    }),
    getPrompt: (name, args) => own(guest.getPrompt(nameOf(name), args)),
    listResources: async () => ({
      resources: strip(
        server,
        (await wholeList(() => guest.listResources())).resources.filter(({ uri }) => uri.startsWith(uriOf(''))),
      ),
    }),
    listResourceTemplates: () => own(guest.listResourceTemplates()),
    readResource: (uri) => own(guest.readResource(uriOf(uri))),
    subscribe: (uri) => own(guest.subscribe(uriOf(uri))),
    unsubscribe: (uri) => own(guest.unsubscribe(uriOf(uri))),
    complete: (prompt, ...rest) => own(guest.complete(nameOf(prompt), ...rest)),
  }
}

/** Takes the server out of names, URIs and ids of tasks, wherever they stand. */
function strip<T>(server: string, value: T): T
function strip(server: string, value: unknown): unknown {
  if (typeof value === 'string') {
    const own = value.startsWith(`${server}_`) || value.startsWith(`${server}/`) ? value.slice(server.length + 1) : value
    return own.replaceAll(`sallyport://${server}/`, '')
  }
  if (Array.isArray(value)) return value.map((item) => strip(server, item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, strip(server, item)]))
}
