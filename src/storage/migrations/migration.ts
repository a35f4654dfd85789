/** One step of the schema, forward only. A released one is never changed. */
export interface Migration {
  /** From 1, without gaps. */
  version: number
  name: string
  statements: readonly Statement[]
}

/** The same for both stores (`renderStatement` says what becomes of it), or one for each. */
export type Statement = string | Readonly<Record<StoreType, string>>

export type StoreType = 'sqlite' | 'postgresql'

/**
 * A statement as one of the stores takes it. On PostgreSQL, texts compare by code point, as they do in SQLite, whatever the database was made
 * with, and integers have eight bytes.
 */
export function renderStatement(statement: Statement, type: StoreType): string {
  const text = typeof statement === 'string' ? statement : statement[type]
  if (type === 'sqlite') return text
  return text.replace(/\b(?<!::)text\b/g, 'text collate "C"').replace(/\binteger\b/g, 'bigint')
}
