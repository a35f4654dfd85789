import { AppError } from '../../lib/errors.ts'
import { isKind, kindRow, KINDS, parseKind } from '../../resources/registry.ts'
import type { Kind } from '../../resources/registry.ts'

export interface Ref {
  kind: Kind
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
  if (texts.length === 1 && texts[0] === 'all') return allKinds().map((kind) => ({ kind, name: undefined }))
  if (texts.length === 0) throw new AppError('invalid_argument', 'name a resource: KIND or KIND/NAME, for example app/everything')
  return texts.map(parseRef)
}

/** A reference to one resource. */
export function parseNamedRef(text: string): { kind: Kind; name: string } {
  const { kind, name } = parseRef(text)
  const named = name ?? kindRow(kind).singleton
  if (named === undefined) throw new AppError('invalid_argument', `name one ${kind}: ${kind}/NAME`)
  return { kind, name: named }
}

function parseRef(text: string): Ref {
  const [word = '', ...rest] = text.split(/[/ \t]/)
  const name = rest.at(-1)
  if (rest.length > 2 || name === '')
    throw new AppError('invalid_argument', `"${text}" is no reference: write KIND or KIND/NAME, for example app/everything`)
  return { kind: parseKind(word), name }
}

function allKinds(): Kind[] {
  return Object.keys(KINDS)
    .filter(isKind)
    .filter((kind) => kindRow(kind).heartbeat !== true && kindRow(kind).recorded !== true)
}
