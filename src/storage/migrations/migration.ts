/** One step of the schema, forward only. A released one is never changed. */
export interface Migration {
  /** From 1, without gaps. */
  version: number
  name: string
  statements: readonly string[]
}
