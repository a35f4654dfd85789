import { z } from 'zod'

/** A JSON Schema, as far as a table of fields shows it. */
interface Node {
  type?: string | string[] | undefined
  description?: string | undefined
  default?: unknown
  const?: unknown
  enum?: unknown[] | undefined
  format?: string | undefined
  anyOf?: Node[] | undefined
  allOf?: Node[] | undefined
  items?: Node | undefined
  properties?: Record<string, Node> | undefined
  required?: string[] | undefined
  additionalProperties?: boolean | Node | undefined
}

const node: z.ZodType<Node> = z.lazy(() =>
  z.object({
    type: z.union([z.string(), z.array(z.string())]).optional(),
    description: z.string().optional(),
    default: z.unknown().optional(),
    const: z.unknown().optional(),
    enum: z.array(z.unknown()).optional(),
    format: z.string().optional(),
    anyOf: z.array(node).optional(),
    allOf: z.array(node).optional(),
    items: node.optional(),
    properties: z.record(z.string(), node).optional(),
    required: z.array(z.string()).optional(),
    additionalProperties: z.union([z.boolean(), node]).optional(),
  }),
)

export interface FieldRow {
  /** `spec.mcp.args`; the entries of a list are `[]`, those of a map `.*`. */
  path: string
  type: string
  required: boolean
  /** As JSON; undefined without a default. */
  default: string | undefined
  description: string
}

/** Every field of a schema, parents before their members, in the order of the schema; `io` says which side of its transforms. */
export function listFields(schema: z.ZodType, io: 'input' | 'output' = 'input'): FieldRow[] {
  const rows = listMembers(readNode(schema, io), '')
  if (io === 'output') return rows
  // A default that stands behind a transform is one of the output only.
  const results = new Map(listMembers(readNode(schema, 'output'), '').map((row) => [row.path, row.default]))
  return rows.map((row) => ({ ...row, default: row.default ?? results.get(row.path) }))
}

/** A word for the whole of a schema that has no fields. */
export function describeType(schema: z.ZodType, io: 'input' | 'output' = 'input'): string {
  return typeOf(readNode(schema, io))
}

/** Rows of a markdown table; `columns` are its titles. */
export function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |\n`
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('')
}

function readNode(schema: z.ZodType, io: 'input' | 'output'): Node {
  return node.parse(z.toJSONSchema(schema, { io, unrepresentable: 'any' }))
}

function listMembers(parent: Node, prefix: string): FieldRow[] {
  return shapesOf(parent).flatMap((shape) => {
    if (shape.items) return listMembers(shape.items, `${prefix}[]`)
    if (typeof shape.additionalProperties === 'object') return listMembers(shape.additionalProperties, `${prefix}.*`)
    return Object.entries(shape.properties ?? {}).flatMap(([name, member]): FieldRow[] => {
      const path = prefix === '' ? name : `${prefix}.${name}`
      const required = (shape.required ?? []).includes(name) && member.default === undefined
      const itself = {
        path,
        type: typeOf(member),
        required,
        default: defaultOf(member),
        description: member.description ?? '',
      }
      return [itself, ...listMembers(member, path)]
    })
  })
}

/** The parts of a schema that can have members. */
function shapesOf(schema: Node): Node[] {
  const parts = [...(schema.anyOf ?? []), ...(schema.allOf ?? [])]
  return parts.length === 0 ? [schema] : parts.flatMap(shapesOf)
}

/** A default that only says what the members' own defaults say is none. */
function defaultOf(schema: Node): string | undefined {
  if (schema.default === undefined || schema.properties) return undefined
  return JSON.stringify(schema.default)
}

function typeOf(schema: Node): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(', ')
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(' or ')
  if (schema.allOf) return [...new Set(schema.allOf.map(typeOf))].join(' and ')
  if (schema.type === 'array') return schema.items ? `list of ${typeOf(schema.items)}` : 'list'
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object' && !schema.properties)
    return `map to ${typeOf(schema.additionalProperties)}`
  if (schema.format === 'date-time') return 'time'
  return [schema.type ?? 'any'].flat().join(' or ')
}
