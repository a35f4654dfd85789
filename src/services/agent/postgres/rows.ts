import { AppError } from '../../../lib/errors.ts'
import { notPostgres } from './frames.ts'
import { renderValue } from './values.ts'

export interface RowLimits {
  maxRows: number
  /** Of the rows as JSON text. */
  maxBytes: number
}

interface Column {
  /** As JSON text. */
  key: string
  type: number
}

/** Collects the rows of one statement as JSON text, up to its limits. */
export class Rows {
  readonly #limits: RowLimits
  readonly #rendered: string[] = []
  #columns: Column[] = []
  #bytes = 0
  /** Whether there are more rows than were taken. */
  isFull = false

  constructor(limits: RowLimits) {
    this.#limits = limits
  }

  get count(): number {
    return this.#rendered.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** How many more rows may come. */
  get room(): number {
    return this.isFull ? 0 : this.#limits.maxRows - this.count
  }

  /** @param body of a RowDescription; undefined for one that was too large. */
  describe(body: Buffer | undefined): void {
    if (!body) throw tooLarge(this.#limits.maxBytes)
    const names = new Set<string>()
    this.#columns = readColumns(body).map(({ name, type }) => {
      // Two columns of one name are two values all the same.
      let key = name
      for (let place = 2; names.has(key); place++) key = `${name}_${place}`
      names.add(key)
      return { key: JSON.stringify(key), type }
    })
  }

  /** @param body of a DataRow; undefined for one that was too large. */
  add(body: Buffer | undefined): void {
    if (this.isFull) return
    const row = body && this.#render(body)
    const size = row === undefined ? Number.POSITIVE_INFINITY : Buffer.byteLength(row) + 1
    if (row === undefined || this.#bytes + size > this.#limits.maxBytes) {
      if (this.count === 0) throw tooLarge(this.#limits.maxBytes)
      this.isFull = true
      return
    }
    this.#rendered.push(row)
    this.#bytes += size
  }

  /** The rows as a JSON array. */
  toJson(): string {
    return `[${this.#rendered.join(',')}]`
  }

  #render(body: Buffer): string {
    const count = body.length < 2 ? -1 : body.readInt16BE(0)
    if (count !== this.#columns.length) throw notPostgres()
    let at = 2
    const members = this.#columns.map(({ key, type }) => {
      if (at + 4 > body.length) throw notPostgres()
      const length = body.readInt32BE(at)
      at += 4
      if (length < 0) return `${key}:null`
      if (at + length > body.length) throw notPostgres()
      const value = body.subarray(at, at + length)
      at += length
      return `${key}:${renderValue(type, value)}`
    })
    return `{${members.join(',')}}`
  }
}

/** "RowDescription": a name, then 18 bytes, of which the type's OID are the 7th to the 10th. */
function readColumns(body: Buffer): { name: string; type: number }[] {
  const columns: { name: string; type: number }[] = []
  let at = 2
  for (let left = body.length < 2 ? -1 : body.readInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, at)
    if (end < 0 || end + 19 > body.length) throw notPostgres()
    columns.push({ name: body.toString('utf8', at, end), type: body.readUInt32BE(end + 7) })
    at = end + 19
  }
  return columns
}

function tooLarge(maxBytes: number): AppError {
  return new AppError(
    'failed_precondition',
    `one row is larger than max_bytes of this database (${maxBytes}): ask for fewer or shorter columns`,
  )
}
