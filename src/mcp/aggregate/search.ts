import { renderExact } from '../../lib/json-scan.ts'
import { type Fields, fieldsOf } from '../message.ts'
import type { Entry } from './catalogue.ts'

export const SEARCH_TOOLS = 'search_tools'
export const CALL_TOOL = 'call_tool'

const MAX_FOUND = 20
const DEFAULT_FOUND = 8
const MAX_BYTES = 100 * 1024
const MAX_TERMS = 16
/** Characters of a description that are looked through, and places in it where a term is tried. */
const MAX_TEXT = 1000
const MAX_LOOKS = 16

/** What stands in the list in place of a catalogue that is too large for it. */
export const SEARCH_CATALOGUE: readonly Fields[] = [
  {
    name: SEARCH_TOOLS,
    title: 'Search tools',
    description:
      'Finds tools by words of what they do, over all servers you may use. Returns their names, descriptions and input schemas; call one with call_tool.',
    inputSchema: {
      type: 'object',
      properties: {
        query: { type: 'string', description: 'Words of the task, such as "create issue"; empty lists the first tools.' },
        limit: { type: 'integer', minimum: 1, maximum: MAX_FOUND, description: `How many to return; ${DEFAULT_FOUND} without.` },
      },
      required: ['query'],
    },
    annotations: { readOnlyHint: true, openWorldHint: false },
  },
  {
    name: CALL_TOOL,
    title: 'Call a tool',
    description: 'Calls a tool that search_tools found, by its name and with arguments that fit its input schema.',
    inputSchema: {
      type: 'object',
      properties: { name: { type: 'string' }, arguments: { type: 'object', additionalProperties: true } },
      required: ['name'],
    },
  },
]

/** The result of a call of `search_tools`, as JSON text. */
export function renderFound(entries: readonly Entry[], args: unknown, isExhaustive: boolean): string {
  const fields = fieldsOf(args)
  const query = typeof fields?.['query'] === 'string' ? fields['query'].slice(0, 1000) : ''
  const asked = fields?.['limit']
  const limit = typeof asked === 'number' && asked >= 1 ? Math.min(Math.floor(asked), MAX_FOUND) : DEFAULT_FOUND
  const tools: Fields[] = []
  let size = 0
  for (const { item, exposed, server } of rankTools(entries, query).slice(0, limit)) {
    const { title, description, inputSchema } = item
    const tool = {
      name: exposed,
      server,
      ...(title !== undefined && { title }),
      ...(description !== undefined && { description }),
      inputSchema,
    }
    size += Buffer.byteLength(renderExact(tool))
    if (size > MAX_BYTES) break
    tools.push(tool)
  }
  const found = { tools, ...(!isExhaustive && { note: 'some servers did not answer: their tools may be missing' }) }
  return `{"content":[{"type":"text","text":${JSON.stringify(renderExact(found))}}],"structuredContent":${renderExact(found)}}`
}

/**
 * Those that hold a word of the query, the best first; all for a query without words. Ties keep their order. Servers write as much as they
 * like, so descriptions are looked through as they stand, and not to their end.
 */
export function rankTools(entries: readonly Entry[], query: string): readonly Entry[] {
  const terms = [...new Set(wordsOf(query))].slice(0, MAX_TERMS)
  if (terms.length === 0) return entries
  const texts = entries.map(({ exposed, item, server }) => ({
    name: new Set([exposed, server, item['title']].flatMap(wordsOf)),
    text: typeof item['description'] === 'string' ? item['description'].slice(0, MAX_TEXT).toLowerCase() : '',
  }))
  const scores = entries.map(() => 0)
  for (const term of terms) {
    const fits = texts.map(({ name, text }) => ({ name: fitWords(term, name), text: fitText(term, text) }))
    const weight = Math.log(1 + entries.length / (1 + fits.filter(({ name, text }) => name === 1 || text === 1).length))
    // A word of the name counts more than one of the description.
    for (const [at, { name, text }] of fits.entries()) scores[at] = (scores[at] ?? 0) + weight * (4 * name + text)
  }
  return entries
    .map((entry, at) => ({ entry, score: scores[at] ?? 0 }))
    .filter(({ score }) => score > 0)
    .toSorted((a, b) => b.score - a.score)
    .map(({ entry }) => entry)
}

/** A word that begins with the term counts half: `request` for `requests`. */
function fitWords(term: string, words: ReadonlySet<string>): number {
  if (words.has(term)) return 1
  return term.length > 2 && words.values().some((word) => word.startsWith(term)) ? 0.5 : 0
}

/** The same for words of a text in small letters. */
function fitText(term: string, text: string): number {
  let best = 0
  let at = text.indexOf(term)
  for (let looks = 0; at !== -1 && looks < MAX_LOOKS; looks++) {
    if (!isOfWord(text, at - 1)) {
      if (!isOfWord(text, at + term.length)) return 1
      if (term.length > 2) best = 0.5
    }
    at = text.indexOf(term, at + 1)
  }
  return best
}

function isOfWord(text: string, at: number): boolean {
  return LETTER.test(text.charAt(at))
}

const LETTER = /[\p{L}\p{N}]/u

function wordsOf(text: unknown): string[] {
  if (typeof text !== 'string') return []
  const spaced = text.slice(0, 1000).replaceAll(/([a-z\d])([A-Z])/g, '$1 $2')
  return spaced.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
}
