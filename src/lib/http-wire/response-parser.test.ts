import { describe, expect, test } from 'vitest'
import { faultOf, parsePieces } from './parsed.fixture.ts'
import type { ParseOptions, Parsed } from './parsed.fixture.ts'

const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`
const repeat = (line: string, count: number): string => Array.from({ length: count }, () => line).join('')

const REFUSED: readonly [name: string, text: string, fault: string][] = [
  ['both lengths', `${OK}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n`, 'both content-length and transfer-encoding'],
  [
    'both lengths, the other way round',
    `${OK}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n`,
    'both content-length and transfer-encoding',
  ],
  [
    'both lengths where no body follows',
    'HTTP/1.1 204 N\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n',
    'both content-length and transfer-encoding',
  ],
  ['differing lengths', `${OK}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd`, 'content-length more than once'],
  ['the same length twice', `${OK}content-length: 3\r\nContent-Length: 3\r\n\r\nabc`, 'content-length more than once'],
  ['a list of lengths', `${OK}content-length: 3, 3\r\n\r\nabc`, 'a content-length that is no number'],
  ['a length with a sign', `${OK}content-length: +3\r\n\r\nabc`, 'a content-length that is no number'],
  ['a negative length', `${OK}content-length: -1\r\n\r\n`, 'a content-length that is no number'],
  ['a hexadecimal length', `${OK}content-length: 0x3\r\n\r\nabc`, 'a content-length that is no number'],
  ['an empty length', `${OK}content-length:\r\n\r\n`, 'a content-length that is no number'],
  ['a length with a no-break space', `${OK}content-length: 3\xa0\r\n\r\nabc`, 'a content-length that is no number'],
  ['a length that is no exact number', `${OK}content-length: 9007199254740993\r\n\r\n`, 'a content-length that is no number'],
  ['another coding', `${OK}transfer-encoding: gzip\r\n\r\n`, 'a transfer-encoding other than chunked'],
  ['codings before chunked', `${OK}transfer-encoding: gzip, chunked\r\n\r\n`, 'a transfer-encoding other than chunked'],
  ['chunked twice', `${OK}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n`, 'a transfer-encoding other than chunked'],
  ['chunked after a vertical tab', `${OK}transfer-encoding:\x0bchunked\r\n\r\n`, 'a line in its header that is no field'],
  ['no coding', `${OK}transfer-encoding:\r\n\r\n`, 'a transfer-encoding other than chunked'],
  ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', 'transfer-encoding in HTTP/1.0'],
  ['a folded line', `${OK}a: b\r\n c: d\r\n\r\n`, 'a folded line in its header'],
  ['a folded first line', `${OK}\ta: b\r\n\r\n`, 'a folded line in its header'],
  ['a space before the colon', `${OK}content-length : 3\r\n\r\nabc`, 'a space before the colon of a header'],
  ['a bare CR', `${OK}a: b\rcontent-length: 3\r\n\r\n`, 'a line of its header with a bare CR or LF'],
  ['a bare LF', `${OK}a: b\ncontent-length: 3\r\n\r\n`, 'a line of its header with a bare CR or LF'],
  ['nothing but LF', 'HTTP/1.1 200 OK\ncontent-length: 0\n\n', 'a line of its header with a bare CR or LF'],
  ['a NUL', `${OK}a: b\0c\r\n\r\n`, 'a NUL in its header'],
  ['a line without a colon', `${OK}nonsense\r\n\r\n`, 'a line in its header that is no field'],
  ['a line without a name', `${OK}: b\r\n\r\n`, 'a line in its header that is no field'],
  ['a control character', `${OK}a: \x07\r\n\r\n`, 'a line in its header that is no field'],
  ['too many lines', `${OK}${repeat('a: b\r\n', 201)}\r\n`, 'more than 200 header lines'],
  ['too large a head', `${OK}a: ${'b'.repeat(66_000)}\r\n\r\n`, 'a header larger than 65536 bytes'],
  ['a head without an end', `${OK}a: ${'b'.repeat(66_000)}`, 'a header larger than 65536 bytes'],
  ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n', 'its first line is no status line of HTTP/1.1'],
  ['HTTP/2', 'HTTP/2 200\r\n\r\n', 'its first line is no status line of HTTP/1.1'],
  ['an empty line first', `\r\n${OK}\r\n`, 'its first line is no status line of HTTP/1.1'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n', 'its first line is no status line of HTTP/1.1'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n', 'its first line is no status line of HTTP/1.1'],
  ['a status with a leading zero', 'HTTP/1.1 099 OK\r\n\r\n', 'its first line is no status line of HTTP/1.1'],
  ['another protocol from here on', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n', 'it switches protocols although nobody asked for that'],
  ['interim answers without end', repeat('HTTP/1.1 100 Continue\r\n\r\n', 33), 'more than 32 interim answers'],
  ['a chunk without a size', `${CHUNKED}\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['a size that is no number', `${CHUNKED}3g\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['a size with a prefix', `${CHUNKED}0x3\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['a negative size', `${CHUNKED}-3\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['a size after a space', `${CHUNKED} 3\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['a size before a space', `${CHUNKED}3 \r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['too large a size', `${CHUNKED}10000000000000\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['a size line that ends in LF', `${CHUNKED}3\nabc\r\n0\r\n\r\n`, 'a bare CR or LF in a chunked body'],
  ['a CR in an extension', `${CHUNKED}3;a\rb\r\nabc\r\n0\r\n\r\n`, 'a bare CR or LF in a chunked body'],
  ['a NUL in an extension', `${CHUNKED}3;a\0b\r\nabc\r\n0\r\n\r\n`, 'a chunk without a proper size'],
  ['too long an extension', `${CHUNKED}3;${'a'.repeat(1100)}\r\nabc\r\n0\r\n\r\n`, 'a line of a chunked body that is too long'],
  ['an extension without an end', `${CHUNKED}3;${'a'.repeat(1100)}`, 'a line of a chunked body that is too long'],
  ['too many extensions', `${CHUNKED}${repeat(`1;${'a'.repeat(1000)}\r\nx\r\n`, 17)}`, 'too many extensions of chunks'],
  ['a chunk longer than its size', `${CHUNKED}3\r\nabcd\r\n0\r\n\r\n`, 'a chunk that is longer than its size'],
  ['a chunk that ends in LF', `${CHUNKED}3\r\nabc\n0\r\n\r\n`, 'a bare CR or LF in a chunked body'],
  ['a trailer that is no field', `${CHUNKED}0\r\nnonsense\r\n\r\n`, 'a trailer that is no field'],
  ['too large trailers', `${CHUNKED}0\r\n${repeat(`a: ${'b'.repeat(1000)}\r\n`, 17)}\r\n`, 'trailers that are too large'],
  ['a trailer without an end', `${CHUNKED}0\r\n${'a'.repeat(17_000)}`, 'a line of a chunked body that is too long'],
]

const head = { status: 200, keepAliveMs: undefined, end: 'clean' } as const
const FRAMED = ['transfer-encoding', 'chunked']
const EARLY = '\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n'

const TAKEN: readonly [name: string, text: string, parsed: Parsed, options?: ParseOptions][] = [
  ['a length', `${OK}Content-Length: 3\r\n\r\nabc`, { ...head, fields: ['content-length', '3'], body: 'abc' }],
  ['an empty body', `${OK}content-length: 0\r\n\r\n`, { ...head, fields: ['content-length', '0'], body: '' }],
  [
    'line ends within a body',
    `${OK}content-length: 8\r\n\r\n\r\n\r\n\r\n\r\n`,
    { ...head, fields: ['content-length', '8'], body: '\r\n\r\n\r\n\r\n' },
  ],
  [
    'white space around a value',
    `${OK}a:  b c\t \r\nd:\r\ncontent-length:0\r\n\r\n`,
    { ...head, fields: ['a', 'b c', 'd', '', 'content-length', '0'], body: '' },
  ],
  ['latin1 in a value', `${OK}a: \xe4\r\ncontent-length: 0\r\n\r\n`, { ...head, fields: ['a', '\xe4', 'content-length', '0'], body: '' }],
  ['no reason phrase', 'HTTP/1.1 500 \r\ncontent-length: 0\r\n\r\n', { ...head, status: 500, fields: ['content-length', '0'], body: '' }],
  ['not even its space', 'HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n', { ...head, status: 404, fields: ['content-length', '0'], body: '' }],
  ['chunks', `${CHUNKED}3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n`, { ...head, fields: FRAMED, body: 'abc0123456789' }],
  ['Chunked', `${OK}transfer-encoding: Chunked\r\n\r\n0\r\n\r\n`, { ...head, fields: ['transfer-encoding', 'Chunked'], body: '' }],
  ['extensions', `${CHUNKED}3;a=b\r\nabc\r\n0003 ; q="x"\r\ndef\r\n000;z\r\n\r\n`, { ...head, fields: FRAMED, body: 'abcdef' }],
  ['trailers, which are dropped', `${CHUNKED}1\r\na\r\n0\r\ncontent-length: 9\r\nb: c\r\n\r\n`, { ...head, fields: FRAMED, body: 'a' }],
  [
    'interim answers, which are left out',
    `HTTP/1.1 103 Early\r\nlink: x${EARLY}${OK}content-length: 1\r\n\r\na`,
    { ...head, fields: ['content-length', '1'], body: 'a' },
  ],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', { ...head, status: 204, fields: [], body: '' }],
  [
    '304 with the length it would have',
    'HTTP/1.1 304 N\r\ncontent-length: 5\r\n\r\n',
    { ...head, status: 304, fields: ['content-length', '5'], body: '' },
  ],
  ['HEAD', `${OK}content-length: 5\r\n\r\n`, { ...head, fields: ['content-length', '5'], body: '' }, { isHead: true }],
  ['the end of the connection as the end', `${OK}\r\nabc`, { ...head, fields: [], body: 'abc', end: 'unclean' }, { closes: true }],
  [
    'close',
    `${OK}connection: Close\r\ncontent-length: 1\r\n\r\na`,
    { ...head, keepAliveMs: 0, fields: ['connection', 'Close', 'content-length', '1'], body: 'a' },
  ],
  [
    'close in a list',
    `${OK}connection: x\r\nconnection: y, close\r\ncontent-length: 0\r\n\r\n`,
    { ...head, keepAliveMs: 0, fields: ['connection', 'x', 'connection', 'y, close', 'content-length', '0'], body: '' },
  ],
  [
    'a time to keep it',
    `${OK}keep-alive: timeout=5, max=9\r\ncontent-length: 0\r\n\r\n`,
    { ...head, keepAliveMs: 5000, fields: ['keep-alive', 'timeout=5, max=9', 'content-length', '0'], body: '' },
  ],
  [
    'HTTP/1.0, which is not kept',
    'HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na',
    { ...head, keepAliveMs: 0, fields: ['connection', 'keep-alive', 'content-length', '1'], body: 'a' },
  ],
]

const CUT: readonly [name: string, text: string, fault: string][] = [
  ['before an answer', '', 'closed before the answer'],
  ['within a head', 'HTTP/1.1 200 OK\r\na: b\r\n', 'closed before the answer'],
  ['after an interim answer', 'HTTP/1.1 100 Continue\r\n\r\n', 'closed before the answer'],
  ['within a length', `${OK}content-length: 3\r\n\r\nab`, 'closed within the answer'],
  ['within a chunk', `${CHUNKED}3\r\nab`, 'closed within the answer'],
  ['before the last chunk', `${CHUNKED}3\r\nabc\r\n`, 'closed within the answer'],
  ['before the line after the last chunk', `${CHUNKED}3\r\nabc\r\n0\r\n`, 'closed within the answer'],
]

const bytesOf = (text: string): string[] => Array.from(text)

describe('refused', () => {
  test.each(REFUSED)('%s', (_, text, fault) => {
    expect(faultOf(() => parsePieces([text]))).toBe(`WIRE_PROTOCOL: ${fault}`)
  })
  test.each(REFUSED)('%s, byte by byte', (_, text, fault) => {
    expect(faultOf(() => parsePieces(bytesOf(text)))).toBe(`WIRE_PROTOCOL: ${fault}`)
  })
  test.each(CUT)('closed %s', (_, text, fault) => {
    expect(faultOf(() => parsePieces(text === '' ? [] : [text], { closes: true }))).toBe(`WIRE_CLOSED: ${fault}`)
    expect(faultOf(() => parsePieces(bytesOf(text), { closes: true }))).toBe(`WIRE_CLOSED: ${fault}`)
  })
  test('bytes when no answer is due', () => {
    expect(faultOf(() => parsePieces([`${OK}content-length: 1\r\n\r\na`, 'HTTP/1.1']))).toBe(
      'WIRE_PROTOCOL: bytes that belong to no answer',
    )
  })
})

describe('read alike', () => {
  test.each(TAKEN)('%s', (_, text, parsed, options) => {
    expect(parsePieces([text], options)).toEqual(parsed)
    expect(parsePieces(bytesOf(text), options)).toEqual(parsed)
    for (let at = 1; at < text.length; at++) expect(parsePieces([text.slice(0, at), text.slice(at)], options)).toEqual(parsed)
  })

  test('a head of just the size allowed', () => {
    const text = `${OK}content-length: 0\r\na: ${'b'.repeat(65_536 - 17 - 19 - 3)}`
    expect(text.length).toBe(65_536)
    expect(parsePieces([`${text}\r\n\r\n`]).end).toBe('clean')
    expect(parsePieces([text.slice(0, 9), `${text.slice(9)}\r\n`, '\r\n']).end).toBe('clean')
    expect(faultOf(() => parsePieces([`${text}b\r\n\r\n`]))).toBe('WIRE_PROTOCOL: a header larger than 65536 bytes')
  })

  test('bytes after an answer do not belong to it', () => {
    for (const extra of ['HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil', '\r\n', 'x']) {
      expect(parsePieces([`${OK}content-length: 1\r\n\r\na${extra}`])).toMatchObject({ body: 'a', end: 'unclean' })
      expect(parsePieces([`${CHUNKED}1\r\na\r\n0\r\n\r\n${extra}`])).toMatchObject({ body: 'a', end: 'unclean' })
      expect(parsePieces([`HTTP/1.1 204 N\r\n\r\n${extra}`])).toMatchObject({ body: '', end: 'unclean' })
    }
  })
})
