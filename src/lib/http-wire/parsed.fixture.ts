import { createResponseParser } from './response-parser.ts'

/** What a parser made of the bytes of one answer. */
export interface Parsed {
  status: number | undefined
  fields: readonly string[]
  body: string
  /** `clean` when the connection can be used again as far as the bytes tell. */
  end: 'clean' | 'unclean' | 'none'
  keepAliveMs: number | undefined
}

export interface ParseOptions {
  isHead?: boolean
  /** The server closes the connection after the last piece. */
  closes?: boolean
}

/** Pushes latin1 pieces into a fresh parser. Throws what it throws. */
export function parsePieces(pieces: readonly string[], { isHead = false, closes = false }: ParseOptions = {}): Parsed {
  const parsed: Parsed = { status: undefined, fields: [], body: '', end: 'none', keepAliveMs: undefined }
  const parser = createResponseParser({
    onHead({ status, fields, keepAliveMs }) {
      if (parsed.status !== undefined) throw new Error('a second head')
      Object.assign(parsed, { status, fields, keepAliveMs })
    },
    onData(chunk) {
      if (chunk.length === 0 || parsed.end !== 'none') throw new Error('an empty chunk, or one after the end')
      parsed.body += chunk.toString('latin1')
    },
    onEnd: (isClean) => (parsed.end = isClean ? 'clean' : 'unclean'),
  })
  parser.begin(isHead)
  for (const piece of pieces) parser.push(Buffer.from(piece, 'latin1'))
  if (closes) parser.finish()
  return parsed
}

/** The code and words of the fault that `parse` throws, or what it gave instead. */
export function faultOf(parse: () => Parsed): unknown {
  try {
    return parse()
  } catch (error) {
    if (error instanceof Error && 'code' in error) return `${String(error.code)}: ${error.message}`
    throw error
  }
}
