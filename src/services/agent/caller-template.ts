import { expandValue } from '../../access/traits.ts'
import type { IdentityTokenType } from '../../client/agent.ts'
import type { Identity } from '../../resources/identity.ts'

const TOKEN_TEMPLATE = /\{\{\s*internal\.(jwt|id_token)\s*\}\}/g
const USERNAME_TEMPLATE = /^\s*\{\{\s*internal\.username\s*\}\}\s*$/

/** The tokens that templates ask for, each once. */
export function tokenTypesIn(templates: readonly string[]): IdentityTokenType[] {
  const found = templates.flatMap((text) => [...text.matchAll(TOKEN_TEMPLATE)].map(([, type]) => type))
  return (['jwt', 'id_token'] as const).filter((type) => found.includes(type))
}

/**
 * What a template says of a caller: tokens, the name or traits. A text without a template is itself; nothing where a trait is missing.
 * @throws AppError invalid_argument for a bad template.
 */
export function expandForCaller(text: string, identity: Identity, tokens: ReadonlyMap<string, string>): string[] {
  // A name is no template, whatever is in it.
  if (USERNAME_TEMPLATE.test(text)) return [identity.name]
  return expandValue(
    text.replace(TOKEN_TEMPLATE, (_, type: string) => tokens.get(type) ?? ''),
    identity.traits,
  )
}

/** Whether there is a list behind a template, of one value too. */
export function isOfTrait(text: string): boolean {
  return !USERNAME_TEMPLATE.test(text) && text.replace(TOKEN_TEMPLATE, '').includes('{{')
}
