import { type Fields, fieldsOf } from '../message.ts'

/** An item that clients can take, or the sentence for its author that says why they could not. */
export type Checked = { item: Fields } | { fault: string }

const MAX_BYTES = 256 * 1024
const MAX_DEPTH = 64

/** Members whose value is a schema, a list of schemas, or schemas by name (JSON Schema 2020-12). */
const SCHEMA_IN = new Set([
  'items',
  'not',
  'if',
  'then',
  'else',
  'contains',
  'propertyNames',
  'additionalProperties',
  'unevaluatedProperties',
])
const SCHEMAS_IN = new Set(['anyOf', 'oneOf', 'allOf', 'prefixItems'])
const NAMED_SCHEMAS_IN = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'])
/** Where `true` and `false` are usual and every client reads them. */
const BOOLEAN_IN = new Set(['additionalProperties', 'unevaluatedProperties'])

/**
 * The tool, repaired where that is safe: clients check a list as a whole, so that one tool with a schema they cannot read takes all others
 * of the list away. What means the same is written in the way that all of them read.
 */
export function checkTool(tool: Fields): Checked {
  const fault = findFault(tool)
  if (fault !== undefined) return { fault }
  const input = repairRoot(tool['inputSchema'])
  if (typeof input === 'string') return { fault: input }
  return { item: { ...withoutMisshapen(tool), inputSchema: input } }
}

/** The item of another list, without members of the wrong type. */
export function checkItem(item: Fields): Checked {
  const fault = findFault(item)
  return fault === undefined ? { item: withoutMisshapen(item) } : { fault }
}

/** For clients that refuse an array without a schema of its items. */
export function withItems(schema: unknown): unknown {
  return mapSchemas(schema, (one) => {
    const { type } = one
    const isArray = type === 'array' || (Array.isArray(type) && type.includes('array'))
    return isArray && !Object.hasOwn(one, 'items') ? { ...one, items: {} } : one
  })
}

function findFault(item: Fields): string | undefined {
  if (isDeeperThan(item, MAX_DEPTH)) return `it is nested deeper than ${MAX_DEPTH} levels`
  return Buffer.byteLength(JSON.stringify(item)) > MAX_BYTES ? `it is larger than ${MAX_BYTES / 1024} KB` : undefined
}

function repairRoot(schema: unknown): Fields | string {
  if (schema === undefined || schema === true) return { type: 'object' }
  const root = fieldsOf(schema)
  if (!root) return 'its inputSchema is no object'
  const { type } = root
  const isObject = type === undefined || type === 'object' || (Array.isArray(type) && type.includes('object'))
  if (!isObject) return 'the type of its inputSchema must be "object"'
  const { properties } = root
  const named = Array.isArray(properties) && properties.length === 0 ? {} : properties
  if (named !== undefined && !fieldsOf(named)) return 'the properties of its inputSchema are no object'
  const isNamed = Object.values(fieldsOf(named) ?? {}).every((one) => typeof one === 'boolean' || fieldsOf(one))
  if (!isNamed) return 'a property of its inputSchema has no schema'
  const repaired = fieldsOf(mapSchemas({ ...root, ...(named !== undefined && { properties: named }), type: 'object' }, (one) => one))
  return repaired ?? 'its inputSchema cannot be read'
}

/** The schema with `change` made to every schema in it; `true` and `false` become objects that mean the same. */
function mapSchemas(schema: unknown, change: (schema: Fields) => Fields): unknown {
  if (typeof schema === 'boolean') return schema ? {} : { not: {} }
  const fields = fieldsOf(schema)
  if (!fields || JSON.isRawJSON(schema)) return schema
  const inner = (one: unknown): unknown => mapSchemas(one, change)
  const entries = Object.entries(fields).map(([name, value]): [string, unknown] => {
    if (BOOLEAN_IN.has(name) && typeof value === 'boolean') return [name, value]
    if (SCHEMA_IN.has(name) && !Array.isArray(value)) return [name, inner(value)]
    if ((SCHEMAS_IN.has(name) || name === 'items') && Array.isArray(value)) return [name, value.map(inner)]
    const named = NAMED_SCHEMAS_IN.has(name) ? fieldsOf(value) : undefined
    return named ? [name, Object.fromEntries(Object.entries(named).map(([key, one]) => [key, inner(one)]))] : [name, value]
  })
  return change(Object.fromEntries(entries))
}

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  title: isText,
  description: isText,
  mimeType: isText,
  annotations: isObject,
  _meta: isObject,
  execution: isObject,
  outputSchema: isObject,
  icons: Array.isArray,
  arguments: Array.isArray,
}

/** What is of no use to anybody with the wrong type is left out, for it would be of harm. */
function withoutMisshapen(item: Fields): Fields {
  const isMisshapen = Object.entries(TYPES).some(([name, isRight]) => Object.hasOwn(item, name) && !isRight(item[name]))
  if (!isMisshapen) return item
  return Object.fromEntries(Object.entries(item).filter(([name, value]) => !Object.hasOwn(TYPES, name) || TYPES[name]?.(value) !== false))
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function isObject(value: unknown): boolean {
  return fieldsOf(value) !== undefined
}

/** Level by level, not by recursion: the text may be deeper than the stack. */
export function isDeeperThan(value: unknown, depth: number): boolean {
  let level: unknown[] = [value]
  for (let at = 0; level.length > 0; at++) {
    if (at > depth) return true
    level = level.flatMap(partsOf)
  }
  return false
}

function partsOf(value: unknown): readonly unknown[] {
  return typeof value === 'object' && value !== null && !JSON.isRawJSON(value) ? Object.values(value) : []
}
