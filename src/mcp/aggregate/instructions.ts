/** What a server says of itself. */
export interface Introduction {
  name: string
  description?: string | undefined
  instructions?: string | undefined
}

const MAX_BYTES = 4096
const MAX_EACH = 1000

/**
 * What a model is told of an aggregate: a word of the administrator, then each server under a heading, in at most 4 KB. `reconnect`: what a
 * person has to do in this client to see a change.
 */
export function renderInstructions(
  own: string | undefined,
  servers: readonly Introduction[],
  unavailable: readonly { server: string; reason: string }[],
  reconnect?: string,
): string {
  const head = own === undefined || own === '' ? [] : [cut(own, MAX_BYTES / 2)]
  const introduction =
    servers.length === 0
      ? []
      : [
          `Tools here come from ${servers.length} MCP server${servers.length === 1 ? '' : 's'}; the name of a tool begins with its server's.`,
        ]
  const faults = unavailable.map(({ server, reason }) => `- ${server}: ${oneLine(reason)}`).join('\n')
  const remedy = reconnect === undefined ? '' : `\nOnce that is mended: ${reconnect}.`
  const missing = faults === '' ? [] : [`${cut(`Not available now:\n${faults}`, 800)}${remedy}`]
  const sections = servers
    .toSorted((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)))
    .map(({ name, description, instructions }) => [
      `## ${oneLine(name)}`,
      cut(description ?? '', MAX_EACH),
      cut(withoutHeadings(instructions ?? ''), MAX_EACH),
    ])
    .map((lines) => lines.filter((line) => line !== '').join('\n'))
  const kept: string[] = [...head, ...introduction, ...missing]
  for (const section of sections) {
    const size = Buffer.byteLength([...kept, section].join('\n\n'))
    if (size <= MAX_BYTES) kept.push(section)
  }
  return cut(kept.join('\n\n'), MAX_BYTES)
}

/** At most so many bytes, whole characters. */
function cut(text: string, bytes: number): string {
  const clean = text.trim().toWellFormed()
  if (Buffer.byteLength(clean) <= bytes) return clean
  let end = 0
  let size = Buffer.byteLength('…')
  for (const character of clean) {
    size += Buffer.byteLength(character)
    if (size > bytes) break
    end += character.length
  }
  return `${clean.slice(0, end)}…`
}

/** What a server says stays under its own heading: it must not look like the word of another one. */
function withoutHeadings(text: string): string {
  return text
    .slice(0, 2 * MAX_EACH)
    .replaceAll(/\r\n|[\r\v\f\u0085\u2028\u2029]/g, '\n')
    .replaceAll(/^(\s*)(#|[=-]+\s*$)/gm, '$1\\$2')
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}
