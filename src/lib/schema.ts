import type { z } from 'zod'
import { renderNearest } from './nearest.ts'
import { faultsError } from './yaml.ts'
import type { Fault, YamlDocument } from './yaml.ts'

type Issue = z.core.$ZodIssue
type Path = (string | number)[]

/** What a union says when its author gave it no words; replaced by the faults of its most fitting branch. */
const NO_BRANCH = 'has none of the accepted forms'

/**
 * The document as the schema's type. Otherwise one `invalid_argument` that lists every fault as
 * `file:line:column path: message`; `details.faults` has `{path, line, column, message}` for programs.
 */
export function checkAgainst<T>(schema: z.ZodType<T>, document: YamlDocument, fileName: string): T {
  const parsed = schema.safeParse(document.value, { error: describe })
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.flatMap((issue) => readIssue(issue, [], document))
  throw faultsError(faults, fileName)
}

/** Words for what zod found. A schema's own message comes before these. */
function describe(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'required' : `expected ${nameOf(issue.expected)}, received ${typeOf(issue.input)}`
    case 'invalid_value':
      if (issue.input === undefined) return 'required'
      return `must be ${issue.values.map(render).join(' or ')}${suggest(issue.input, issue.values)}`
    case 'unrecognized_keys':
      return issue.keys.map((key) => `unknown key ${JSON.stringify(key)}${suggest(key, knownKeys(issue.inst))}`).join('\n')
    case 'invalid_union':
      if (issue.input === undefined) return 'required'
      return Array.isArray(issue.options)
        ? `must be ${issue.options.map(render).join(' or ')}${suggest(wordOf(issue), issue.options)}`
        : NO_BRANCH
    default:
      return undefined
  }
}

/** What stands where a union looks for the word that says which branch is meant. */
function wordOf({ input, discriminator }: z.core.$ZodRawIssue): unknown {
  return input instanceof Object && typeof discriminator === 'string' ? Reflect.get(input, discriminator) : undefined
}

function render(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

function suggest(word: unknown, known: readonly unknown[]): string {
  if (typeof word !== 'string') return ''
  return renderNearest(
    word,
    known.filter((value) => typeof value === 'string'),
  )
}

/** The keys of the object schema that raised an issue. */
function knownKeys(raisedBy: unknown): string[] {
  const known = raisedBy instanceof Object && 'shape' in raisedBy ? raisedBy.shape : undefined
  return known instanceof Object ? Object.keys(known) : []
}

function nameOf(type: string): string {
  return type === 'record' ? 'object' : type
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isNaN(value) ? 'NaN' : typeof value
}

function readIssue(issue: Issue, parent: Path, document: YamlDocument): Fault[] {
  const path = [...parent, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))]
  const fault = (message: string): Fault => ({ path: renderPath(path), ...document.positionOf(path), message })
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n')
    return issue.keys.map((key, index) => {
      const message = messages.length === issue.keys.length ? (messages[index] ?? issue.message) : issue.message
      return { ...fault(message), ...document.positionOf([...path, key], 'key') }
    })
  }
  if (issue.code === 'invalid_union' && issue.message === NO_BRANCH) {
    const branch = chooseBranch(issue.errors)
    if (branch) return branch.flatMap((inner) => readIssue(inner, path, document))
    return [fault(joinExpectations(issue.errors))]
  }
  if (issue.code === 'invalid_key') {
    const message = issue.issues[0]?.message ?? issue.message
    return [{ ...fault(`not allowed as a key: ${message}`), ...document.positionOf(path, 'key') }]
  }
  return [fault(issue.message)]
}

/** `spec.allow.rules[0].verbs`; keys that are no plain words in brackets. */
function renderPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    if (!/^[\w-]+$/.test(step)) return `${text}[${JSON.stringify(step)}]`
    return text === '' ? step : `${text}.${step}`
  }, '')
}

/**
 * The branch of a union the author most likely meant: never one whose type as a whole is wrong; rather one whose fixed words
 * (`type: join`) fit; of those the one with the fewest faults.
 */
function chooseBranch(branches: Issue[][]): Issue[] | undefined {
  let best: Issue[] | undefined
  let bestScore = Infinity
  for (const branch of branches) {
    if (branch.length === 0 || branch.some((issue) => issue.path.length === 0 && isWrongWhole(issue))) continue
    const wrongWords = branch.filter((issue) => issue.code === 'invalid_value' && issue.path.length === 1).length
    const score = wrongWords * 1000 + branch.length
    if (score < bestScore) {
      best = branch
      bestScore = score
    }
  }
  return best
}

function isWrongWhole(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value' || (issue.code === 'invalid_union' && issue.message === NO_BRANCH)
}

/** `expected string or array, received number` for a union none of whose branches has the type. */
function joinExpectations(branches: Issue[][]): string {
  const issues = branches.flat().flatMap((issue) => (issue.code === 'invalid_union' ? issue.errors.flat() : [issue]))
  const expected = new Set<string>()
  let received = ''
  for (const issue of issues) {
    if (issue.code === 'invalid_type') {
      expected.add(nameOf(issue.expected))
      received = issue.message.split(', ').at(-1) ?? ''
    } else if (issue.code === 'invalid_value') for (const value of issue.values) expected.add(render(value))
    else return issue.message
  }
  if (expected.size === 0) return NO_BRANCH
  return `expected ${[...expected].join(' or ')}${received.startsWith('received') ? `, ${received}` : ''}`
}
