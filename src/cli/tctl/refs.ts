import { fetchResources } from '../../client/admin.ts'
import type { ApiClient } from '../../client/call.ts'
import { AppError } from '../../lib/errors.ts'
import { renderNearest } from '../../lib/nearest.ts'
import { isKind, kindRow, KINDS, parseKinds } from '../../resources/registry.ts'
import type { Kind } from '../../resources/registry.ts'

export interface Ref {
  /** One; several for a word that means more, such as `connectors`. */
  kinds: readonly Kind[]
  /** Absent: all of the kind. */
  name: string | undefined
}

/** `kind`, `kind/name` or `kind/subkind/name`, several joined by commas (`\,` is a comma); `all` means every kind. */
export function parseRefs(words: readonly string[]): Ref[] {
  // Teleport lets a space stand for the slash: `tctl get role access`.
  const joined = words.length === 2 && !/[/,]/.test(words.join('')) && words[0] !== 'all' ? [words.join('/')] : words
  const texts = joined
    .flatMap((word) => word.split(/(?<!\\),/))
    .map((text) => text.replaceAll('\\,', ',').trim())
    .filter((text) => text !== '')
  if (texts.length === 1 && texts[0] === 'all') return allKinds().map((kind) => ({ kinds: [kind], name: undefined }))
  if (texts.length === 0) throw new AppError('invalid_argument', 'name a resource: KIND or KIND/NAME, for example app/everything')
  return texts.map(parseRef)
}

/** A reference to one resource. */
export function parseNamedRef(text: string): { kinds: readonly Kind[]; name: string } {
  const { kinds, name } = parseRef(text)
  const [kind] = kinds
  const named = name ?? (kind && kindRow(kind).singleton)
  if (named === undefined) throw new AppError('invalid_argument', `name one ${kinds.join(' or ')}: ${kinds.join('|')}/NAME`)
  return { kinds, name: named }
}

/** Does something with the first kind that has such a resource; throws `not_found` of the last, with the nearest name, when none has. */
export async function withFirstKind<T>(
  api: ApiClient,
  { kinds, name }: { kinds: readonly Kind[]; name: string },
  use: (kind: Kind) => Promise<T>,
): Promise<T> {
  let missing = new AppError('internal', 'a reference without a kind')
  for (const kind of kinds) {
    try {
      return await use(kind)
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'not_found') throw thrown
      missing = thrown
    }
  }
  throw new AppError(missing.code, `${missing.message}${renderNearest(name, await namesOf(api, kinds))}`, { cause: missing })
}

/** None of those that the caller may not list, and no secrets. */
async function namesOf(api: ApiClient, kinds: readonly Kind[]): Promise<string[]> {
  const listed = kinds.filter((kind) => kindRow(kind).secretName !== true && kindRow(kind).singleton === undefined)
  const lists = await Promise.allSettled(listed.map((kind) => fetchResources(api, kind)))
  return lists.flatMap((list) => (list.status === 'fulfilled' ? list.value.map(({ metadata }) => metadata.name) : []))
}

function parseRef(text: string): Ref {
  const [word = '', ...rest] = text.split(/[/ \t]/)
  const name = rest.at(-1)
  if (rest.length > 2 || name === '')
    throw new AppError('invalid_argument', `"${text}" is no reference: write KIND or KIND/NAME, for example app/everything`)
  return { kinds: parseKinds(word), name }
}

function allKinds(): Kind[] {
  return Object.keys(KINDS)
    .filter(isKind)
    .filter((kind) => kindRow(kind).heartbeat !== true && kindRow(kind).recorded !== true)
}
