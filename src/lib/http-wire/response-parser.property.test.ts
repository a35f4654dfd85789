import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parsePieces } from './parsed.fixture.ts'

const letters = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/).filter((name) => !FRAMING.has(name.toLowerCase()))
const FRAMING = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive'])
const value = fc.stringMatching(/^(?:[!-~\xa1-\xff](?:[\t -~\xa1-\xff]{0,20}[!-~\xa1-\xff])?)?$/)
const fields = fc.array(fc.tuple(letters, value), { maxLength: 12 })
const latin1 = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
const status = fc.integer({ min: 200, max: 599 }).filter((one) => one !== 204 && one !== 304)

const answer = fc.record({
  status,
  fields,
  interim: fc.integer({ min: 0, max: 3 }),
  body: fc.oneof(
    fc.record({ framing: fc.constant('length' as const), parts: fc.array(latin1, { maxLength: 3 }) }),
    fc.record({ framing: fc.constant('chunked' as const), parts: fc.array(latin1, { maxLength: 6 }) }),
    fc.record({ framing: fc.constant('until-close' as const), parts: fc.array(latin1, { maxLength: 3 }) }),
  ),
})
/** Lengths of the pieces it comes in, over and over. */
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })

test('an answer is read the same in whatever pieces it comes', () => {
  fc.assert(
    fc.property(answer, cuts, ({ status: code, fields: lines, interim, body: { framing, parts } }, lengths) => {
      const body = parts.join('')
      const framed =
        framing === 'length' ? `Content-Length: ${body.length}\r\n` : framing === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : ''
      const sent =
        framing === 'chunked'
          ? `${parts
              .filter((part) => part !== '')
              .map(toChunk)
              .join('')}0\r\n\r\n`
          : body
      const head = `HTTP/1.1 ${code} Fine\r\n${lines.map(([name, text]) => `${name}: ${text}\r\n`).join('')}${framed}\r\n`
      const text = `${'HTTP/1.1 100 Continue\r\nx: y\r\n\r\n'.repeat(interim)}${head}${sent}`

      const parsed = parsePieces(cut(text, lengths), { closes: framing === 'until-close' })
      expect(parsed.status).toBe(code)
      expect(parsed.fields.slice(0, 2 * lines.length)).toEqual(lines.flatMap(([name, one]) => [name.toLowerCase(), one]))
      expect(parsed.body).toBe(body)
      expect(parsed.end).toBe(framing === 'until-close' ? 'unclean' : 'clean')
      expect(parsePieces([text], { closes: framing === 'until-close' })).toEqual(parsed)
    }),
    { numRuns: 400 },
  )
})

test('whatever comes, it is an answer or a fault, and never more than the limits', () => {
  const pieces = fc.array(
    fc.oneof(
      latin1,
      fc.constantFrom(
        'HTTP/1.1 200 OK\r\n',
        '\r\n',
        'content-length: 2\r\n',
        'transfer-encoding: chunked\r\n',
        '2\r\nab\r\n',
        '0\r\n',
        'ab',
      ),
    ),
    { maxLength: 12 },
  )
  fc.assert(
    fc.property(pieces, (some) => {
      try {
        parsePieces(some.filter((one) => one !== ''))
      } catch (error) {
        expect(error).toMatchObject({ code: 'WIRE_PROTOCOL' })
      }
    }),
    { numRuns: 1000 },
  )
})

function toChunk(part: string): string {
  return `${part.length.toString(16)}\r\n${part}\r\n`
}

function cut(text: string, lengths: readonly number[]): string[] {
  const pieces: string[] = []
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    pieces.push(text.slice(at, at + length))
    at += length
  }
  return pieces
}
