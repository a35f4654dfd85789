import { AppError } from '../../lib/errors.ts'
import type { Caller } from '../../mcp/caller.ts'
import type { CallerProof, CallerWords } from '../../mcp/upstream/upstream.ts'
import { OWN_META } from '../../mcp/own-meta.ts'
import type { App } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { expandForCaller, isOfTrait, tokenTypesIn } from './caller-template.ts'
import type { TokenSource } from './headers.ts'

/** Of one variable: a token with many traits is the largest thing there is. */
const MAX_VARIABLE = 32_768

/**
 * What a server is told of its caller beside headers, as `spec.rewrite.env` and `spec.rewrite.meta` ask for; undefined where they ask for nothing.
 * A template without a value leaves its variable or member out.
 * What they throw: failed_precondition for a trait that cannot stand in a variable, invalid_argument for a bad template, or as tokens.
 */
export function callerWords(app: App, caller: () => Caller, tokens: TokenSource): CallerWords | undefined {
  const { env = [], meta = [] } = app.spec.rewrite ?? {}
  if (env.length === 0 && meta.length === 0) return undefined
  const server = app.metadata.name
  const expanding = <T>(entries: readonly { value: string }[], make: Make<T>): ((from?: CallerProof) => T | Promise<T>) => {
    const types = tokenTypesIn(entries.map(({ value }) => value))
    let made: { from: readonly string[]; identity: Identity; words: T } | undefined
    const render = (identity: Identity, values: readonly string[]): T => {
      if (made?.identity === identity && made.from.every((value, index) => value === values[index])) return made.words
      const words = make(identity, new Map(types.map((type, index) => [type, values[index] ?? ''])))
      made = { from: values, identity, words }
      return words
    }
    return (from) => {
      const current = from ?? caller()
      const values = types.map((type) => tokens.get(type, server, current))
      return values.every((value) => typeof value === 'string')
        ? render(current.identity, values)
        : Promise.all(values.map(async (value) => await value)).then((fetched) => render(current.identity, fetched))
    }
  }
  return {
    env: expanding(env, (identity, signed) =>
      Object.fromEntries(env.flatMap(({ name, value }) => variable(server, name, expandForCaller(value, identity, signed), identity))),
    ),
    meta: expanding(meta, (identity, signed) =>
      meta.flatMap(({ name, value }) => member(name, expandForCaller(value, identity, signed), isOfTrait(value))).join(','),
    ),
  }
}

type Make<T> = (identity: Identity, tokens: ReadonlyMap<string, string>) => T

function variable(server: string, name: string, values: readonly string[], { name: user }: Identity): [string, string][] {
  if (values.length === 0) return []
  // A value with a comma would read as two; one of them could be what the caller is not.
  if (values.some((each) => /\p{Cc}/u.test(each) || (values.length > 1 && each.includes(','))) || values.join(',').length > MAX_VARIABLE)
    throw new AppError('failed_precondition', `MCP server "${server}": a trait of "${user}" cannot stand in the variable ${name}`)
  return [[name, values.join(',')]]
}

function member(name: string, values: readonly string[], isList: boolean): string[] {
  if (values.length === 0) return []
  return [`${JSON.stringify(OWN_META + name)}:${JSON.stringify(isList ? values : values[0])}`]
}
