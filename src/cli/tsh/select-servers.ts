import type { UsableServer } from '../../client/servers.ts'
import { AppError } from '../../lib/errors.ts'
import { transportOf } from '../../resources/app.ts'
import { parseResource } from '../../resources/registry.ts'

export interface Selection {
  /** `key=value,key2=value2`; all must be there. */
  labels?: string | undefined
  words?: readonly string[]
  query?: string | undefined
}

type Described = Pick<UsableServer, 'metadata'>

/** The servers (or databases) a person means, by name. */
export function selectServers<S extends Described>(servers: readonly S[], { labels, words = [], query }: Selection): S[] {
  const wanted = parseLabels(labels)
  const holds = query === undefined ? () => true : parseQuery(query)
  return servers
    .filter((server) => wanted.every(([key, value]) => labelsOf(server)[key] === value))
    .filter((server) => words.every((word) => searchText(server).includes(word.toLowerCase())))
    .filter(holds)
    .toSorted((one, other) => (one.metadata.name < other.metadata.name ? -1 : 1))
}

const TYPES = { stdio: 'stdio', http: 'HTTP', sse: 'SSE', postgres: 'PostgreSQL' } as const

/** `stdio`, `HTTP`, `SSE` or `PostgreSQL`; `?` for a server this version cannot read. */
export function typeOf(server: UsableServer): string {
  try {
    const { kind, version, metadata, spec } = server
    const transport = transportOf(parseResource('app', { kind, version, metadata, spec }))
    return TYPES[transport]
  } catch {
    return '?'
  }
}

export function labelsOf(server: Described): Record<string, string> {
  const labels = server.metadata['labels']
  return typeof labels === 'object' && labels !== null
    ? Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, String(value)]))
    : {}
}

export function descriptionOf(server: Described): string {
  const description = server.metadata['description']
  return typeof description === 'string' ? description : ''
}

function searchText(server: Described): string {
  return [server.metadata.name, descriptionOf(server), ...Object.entries(labelsOf(server)).flat()].join('\n').toLowerCase()
}

/** `key=value,key2=value2`, in their order. */
export function parseLabels(text: string | undefined): [string, string][] {
  if (!text) return []
  return text.split(',').map((pair) => {
    const cut = pair.indexOf('=')
    if (cut < 1) throw new AppError('invalid_argument', `"${pair}" is no label: write key=value,key2=value2`)
    return [pair.slice(0, cut).trim(), pair.slice(cut + 1).trim()]
  })
}

const TERM = /^\s*(?:(name)|labels\["([^"]{1,200})"\]|labels\.([\w-]{1,200}))\s*(==|!=)\s*"([^"]*)"\s*$/

/** A small part of Teleport's predicate language: comparisons of `name` and `labels["key"]` with texts, joined by `&&`. */
function parseQuery(query: string): (server: Described) => boolean {
  const terms = query.split('&&').map((term) => {
    const found = TERM.exec(term)
    if (!found)
      throw new AppError(
        'invalid_argument',
        `"${term.trim()}" is not understood: write name == "x" or labels["key"] == "value", joined by &&`,
      )
    const key = found[2] ?? found[3]
    const equal = found[4] === '=='
    return (server: Described) => ((key === undefined ? server.metadata.name : (labelsOf(server)[key] ?? '')) === found[5]) === equal
  })
  return (server) => terms.every((term) => term(server))
}
