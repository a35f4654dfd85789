import { compileSet, type SetSelection } from '../../access/mcp-set.ts'
import { foldName } from '../../lib/exposed-name.ts'
import type { Member, NamedKind, NamedTarget, View } from '../../mcp/aggregate/view.ts'
import type { McpSet } from '../../resources/mcp-set.ts'
import type { AggregateCaller } from './aggregate-callers.ts'
import type { ExposedNames } from './exposed-names.ts'

export interface ViewOptions {
  caller: AggregateCaller
  /** The caller as things are now. */
  current(): Promise<AggregateCaller>
  /** Why the caller may not go on. */
  refusal(): string | undefined
  /** The set that the URL names; undefined: all servers. */
  set: McpSet | undefined
  /** The set of that name as it is now: a view may outlive what it was made with. */
  currentSet(): McpSet | undefined
  /** Answers the exchanges of this caller's token at a server. */
  serve: (server: string) => Member['serve']
  names: ExposedNames
}

/** What a caller sees at the URL of all servers, or of a set. */
export function createView({ caller, current, refusal, set, currentSet, serve, names }: ViewOptions): View {
  const chosen = set && chosenBy(set)
  return {
    owner: ownerAt(caller.owner, set?.metadata.name),
    expiresAt: caller.expiresAt,
    reasonToLeave: refusal,
    members: async () => {
      const now = set && currentSet()
      // Of a set that is gone nothing is left.
      return set && !now ? [] : membersOf(await current(), now, serve)
    },
    namesFor: async (server, what, originals) => {
      const stored = await names.namesFor(server, what, originals)
      return chosen && what === 'tool' ? chosen.renames.apply(server, originals, stored) : stored
    },
    findName: async (what: NamedKind, exposed: string) => {
      if (what === 'prompt' || !chosen) return names.findName(what, exposed)
      const renamed = chosen.renames.find(exposed)
      if (renamed) return renamed
      const stored = await names.findName(what, exposed)
      return stored && chosen.renames.apply(stored.server, [stored.original], [exposed])[0] === exposed ? stored : undefined
    },
    ...(chosen?.selection.includesTool && { includesTool: chosen.selection.includesTool }),
    discovery: set?.spec.discovery ?? 'auto',
    ...(set?.spec.instructions !== undefined && { instructions: set.spec.instructions }),
  }
}

/** Who, at which URL: neither name has white space. */
export function ownerAt(owner: string, set: string | undefined): string {
  return set === undefined ? owner : `${owner} ${set}`
}

/** Who and which set an owner of a view is. */
export function readOwner(viewOwner: string): { owner: string; set: string | undefined } {
  const [owner = '', set] = viewOwner.split(' ')
  return { owner, set }
}

const members = new WeakMap<AggregateCaller, Map<McpSet | undefined, readonly Member[]>>()

/** Made once for what is known of a caller, since every message asks. */
function membersOf(caller: AggregateCaller, set: McpSet | undefined, serve: ViewOptions['serve']): readonly Member[] {
  const known = members.get(caller) ?? new Map<McpSet | undefined, readonly Member[]>()
  members.set(caller, known)
  const made = known.get(set)
  if (made) return made
  const selection = set && chosenBy(set).selection
  const chosen = caller.servers
    .filter(({ name, labels }) => selection?.includesServer(name, labels) ?? true)
    .map(({ name, description }) => ({ name, ...(description !== undefined && { description }), serve: serve(name) }))
  known.set(set, chosen)
  return chosen
}

interface Chosen {
  selection: SetSelection
  renames: Renames
}

const compiled = new WeakMap<McpSet, Chosen>()

/** Compiled once a set; a changed one is another object. */
function chosenBy(set: McpSet): Chosen {
  const known = compiled.get(set)
  if (known) return known
  const made = { selection: compileSet(set), renames: compileRenames(set) }
  compiled.set(set, made)
  return made
}

/** Names that a set gives to tools in place of their stored ones. */
interface Renames {
  find(exposed: string): NamedTarget | undefined
  /** A renamed tool has its new name only. Another whose stored name is too much like one of these has none here. */
  apply(server: string, originals: readonly string[], stored: readonly (string | undefined)[]): (string | undefined)[]
}

function compileRenames({ spec }: McpSet): Renames {
  const entries = spec.rename ?? []
  const byName = new Map(entries.map(({ server, tool, name }) => [name, { server, original: tool }]))
  const byTool = new Map(entries.map(({ server, tool, name }) => [`${server} ${tool}`, name]))
  const taken = new Set(entries.map(({ name }) => foldName(name)))
  return {
    find: (exposed) => byName.get(exposed),
    apply: (server, originals, stored) =>
      originals.map((original, index) => {
        const name = stored[index]
        return byTool.get(`${server} ${original}`) ?? (name === undefined || taken.has(foldName(name)) ? undefined : name)
      }),
  }
}
