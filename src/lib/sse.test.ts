import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createSseParser, frameSse } from './sse.ts'
import type { SseEvent } from './sse.ts'

function parse(...chunks: (string | Uint8Array)[]): SseEvent[] {
  const parser = createSseParser()
  return chunks.flatMap((chunk) => parser.push(Buffer.from(chunk)))
}

/** The events a client would dispatch, as type and data. */
function dispatched(events: SseEvent[]): string[][] {
  return events.filter((event) => event.hasData).map((event) => [event.event, event.data.toString()])
}

describe('limits', () => {
  test('an event over the limit is refused, whole or in parts, and so is all that follows', () => {
    const parser = createSseParser({ maxEventBytes: 10 })
    expect(parser.push(Buffer.from('data: 12\n\n')).length).toBe(1)
    expect(() => parser.push(Buffer.from('data: 123\n\n'))).toThrow(expect.objectContaining({ code: 'resource_exhausted' }))
    expect(() => parser.push(Buffer.from('data: 1\n\n'))).toThrow('an event is larger than the limit of 10 bytes')
  })

  test('comments without end are refused as well', () => {
    const parser = createSseParser({ maxEventBytes: 10 })
    expect(parser.push(Buffer.from(':1\n:2\n:3\n'))).toEqual([])
    expect(() => parser.push(Buffer.from(':4\n'))).toThrow('10 bytes')
  })

  test('an event in very many small chunks', () => {
    const parser = createSseParser()
    for (let i = 0; i < 200_000; i++) parser.push(Buffer.from('data:\n'))
    expect(parser.push(Buffer.from('\n'))[0]?.data.length).toBe(199_999)
  })
})

test('a chunk is given back as soon as no event can share memory with it', () => {
  const given: string[] = []
  const parser = createSseParser({ giveBack: (chunk) => given.push(Buffer.from(chunk).toString('utf8', 0, 9)) })
  const large = (name: string): Buffer => Buffer.from(`${name}${'x'.repeat(20_000)}`)
  parser.push(Buffer.from('data: few'))
  // Small ones are copied: millions of them are not to be kept beside the copy.
  expect(given).toEqual(['data: few'])
  expect(parser.push(large('large one'))).toEqual([])
  expect(parser.push(large('large two'))).toEqual([])
  expect(given).toEqual(['data: few'])
  const [first] = parser.push(Buffer.from('\n\ndata: next'))
  expect(given).toEqual(['data: few', 'large one', 'large two'])
  expect(first?.data.length).toBe(3 + 2 * 20_009)
  const [second] = parser.push(large('\n\ndata: three\n\ndata: four'))
  expect(second?.data.toString()).toBe('next')
  expect(given).toHaveLength(3)
})

describe('fields', () => {
  test('all of them', () => {
    expect(parse('id: 7\nevent: ping\nretry: 1500\ndata: a\ndata:  b\n\n')).toEqual([
      {
        raw: Buffer.from('id: 7\nevent: ping\nretry: 1500\ndata: a\ndata:  b\n\n'),
        event: 'ping',
        data: Buffer.from('a\n b'),
        hasData: true,
        id: '7',
        retry: 1500,
        isComment: false,
      },
    ])
  })

  test.each([
    ['data', [['message', '']]],
    ['data:', [['message', '']]],
    ['data: ', [['message', '']]],
    ['data:x:y', [['message', 'x:y']]],
    ['data\ndata', [['message', '\n']]],
    ['event:\ndata:x', [['message', 'x']]],
    ['event: a\nevent: b\ndata:x', [['b', 'x']]],
    ['Data: x', []],
    [' data: x', []],
    ['event: a', []],
    [': data: x', []],
    ['unknown: x\ndata: y', [['message', 'y']]],
  ])('%j dispatches %j', (block, expected) => {
    expect(dispatched(parse(`${block}\n\n`))).toEqual(expected)
  })

  test('an id with NUL is ignored, an empty one is not', () => {
    expect(parse('id: a\0b\ndata: x\n\n')[0]).not.toHaveProperty('id')
    expect(parse('id: a\nid: b\0\n\n')[0]?.id).toBe('a')
    expect(parse('id\n\n')[0]).toMatchObject({ id: '', hasData: false, isComment: false })
  })

  test.each(['-1', '1.5', '1e3', ' 1', '', '٣', '99999999999999999999'])('retry %j is ignored', (value) => {
    expect(parse(`retry:${value}x\nretry:${value}\n\n`.replace('x\n', '\n'))[0]).toMatchObject({ isComment: false })
    expect(parse(`retry:  ${value}\n\n`)[0]).not.toHaveProperty('retry')
  })

  test('comments and blank lines are events of their own, never dispatched', () => {
    const events = parse(': keep-alive\n\n\n\ndata: x\n\n')
    expect(events.map((event) => [String(event.raw), event.isComment, event.hasData])).toEqual([
      [': keep-alive\n\n', true, false],
      ['\n', true, false],
      ['\n', true, false],
      ['data: x\n\n', false, true],
    ])
  })

  test('an event that only sets the id for resuming', () => {
    expect(parse('id: 1\ndata: \n\n')[0]).toMatchObject({ id: '1', data: Buffer.alloc(0), hasData: true })
  })
})

describe('line ends and chunk borders', () => {
  test.each(['\n', '\r\n', '\r'])('line end %j', (end) => {
    expect(dispatched(parse(`event: a${end}data: x${end}data: y${end}${end}data: z${end}${end}`))).toEqual([
      ['a', 'x\ny'],
      ['message', 'z'],
    ])
  })

  test('a CRLF cut in two ends one line, and the event is not held back for its second half', () => {
    const parser = createSseParser()
    expect(parser.push(Buffer.from('data: x\r'))).toEqual([])
    expect(parser.push(Buffer.from('\n\r')).map((event) => event.data.toString())).toEqual(['x'])
    const next = parser.push(Buffer.from('\ndata: y\r\n\r\n'))
    expect(next.map((event) => [String(event.raw), event.data.toString()])).toEqual([['\ndata: y\r\n\r\n', 'y']])
  })

  test('a byte order mark is dropped at the start only', () => {
    expect(dispatched(parse(Uint8Array.of(0xef), Uint8Array.of(0xbb, 0xbf), 'data: x\n\n'))).toEqual([['message', 'x']])
    expect(dispatched(parse('data: x\n\n\ufeffdata: y\n\n'))).toEqual([['message', 'x']])
  })

  test('a character cut in two, and invalid UTF-8', () => {
    const bytes = Buffer.from('data: é€\n\n')
    expect(dispatched(parse(bytes.subarray(0, 7), bytes.subarray(7, 9), bytes.subarray(9)))).toEqual([['message', 'é€']])
    expect(dispatched(parse('data: ', Uint8Array.of(0xff), '\n\n'))).toEqual([['message', '\ufffd']])
  })

  const fields = ['data: x', 'data', ':', 'id: 1', 'event: é', 'retry: 5']
  const pieces = fc.constantFrom(...fields, '\n', '\n', '\r', '\r\n', '\r\n', '\ufeff', ' ', '€')
  const stream = fc.array(pieces, { maxLength: 60 }).map((parts) => parts.join(''))

  test('the raw bytes of all events and the rest are the stream, whatever the chunks', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(9)), (text, sizes) => {
        const bytes = Buffer.from(text)
        const parser = createSseParser()
        const events: SseEvent[] = []
        let at = 0
        for (const size of sizes) {
          events.push(...parser.push(bytes.subarray(at, at + size)))
          at += size
        }
        events.push(...parser.push(bytes.subarray(at)))
        expect(Buffer.concat([...events.map((event) => event.raw), parser.end() ?? Buffer.alloc(0)])).toEqual(bytes)
        expect(parser.end()).toBeUndefined()
        expect(dispatched(events)).toEqual(reference(text))
      }),
      { numRuns: 1000 },
    )
  })

  /** The specification's algorithm over the whole text. */
  function reference(text: string): string[][] {
    const lines = text
      .replace(/^\ufeff/, '')
      .split(/\r\n|\r|\n/)
      .slice(0, -1)
    const events: string[][] = []
    let type = ''
    let data = ''
    for (const line of lines) {
      if (line === '') {
        if (data !== '') events.push([type === '' ? 'message' : type, data.slice(0, -1)])
        type = ''
        data = ''
        continue
      }
      const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
      if (name === 'event') type = value
      if (name === 'data') data += `${value}\n`
    }
    return events
  }
})

describe('framing', () => {
  test.each([
    [{ event: 'a\nb', data: '' }],
    [{ id: 'a\rdata: x', data: '' }],
    [{ id: 'a\0', data: '' }],
    [{ retry: 1.5, data: '' }],
    [{ retry: -1, data: '' }],
  ])('%j is refused', (event) => {
    expect(() => frameSse(event)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  })

  test('the text of events', () => {
    expect(String(frameSse({ data: '{"a":1}' }))).toBe('data: {"a":1}\n\n')
    expect(String(frameSse({ data: 'a\r\nb\n', event: 'endpoint', id: '7', retry: 0 }))).toBe(
      'event: endpoint\nid: 7\nretry: 0\ndata: a\ndata: b\ndata: \n\n',
    )
    expect(String(frameSse({ data: '', id: '' }))).toBe('id: \ndata: \n\n')
  })

  test('what is framed is parsed back', () => {
    fc.assert(
      fc.property(fc.string(), (data) => {
        expect(parse(frameSse({ data })).map((event) => event.data.toString())).toEqual([data.replaceAll(/\r\n?/g, '\n')])
      }),
    )
  })
})
