import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseExact, renderExact } from './json-scan.ts'
import { createRedactor, redactHeaders } from './redact.ts'

const redactor = createRedactor()

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

describe('known values', () => {
  test('are replaced as they are, inside JSON and inside a URL', () => {
    const { text } = createRedactor({ knownSecrets: ['s3 "q"&x'] })
    expect(text('a s3 "q"&x b s3 "q"&x')).toBe('a <REDACTED> b <REDACTED>')
    expect(text('{"v":"s3 \\"q\\"&x"}')).toBe('{"v":"<REDACTED>"}')
    expect(text('http://h/?v=s3%20%22q%22%26x')).toBe('http://h/?v=<REDACTED>')
  })

  test('are replaced in JSON of other languages', () => {
    const { text } = createRedactor({ knownSecrets: ['k/9+<é>"&x'] })
    for (const spelled of [
      'k\\/9+<é>\\"&x',
      'k/9+\\u003cé\\u003e\\"\\u0026x',
      'k/9+<\\u00e9>\\"&x',
      'k/9\\u002B\\u003C\\u00E9\\u003E\\u0022\\u0026x',
    ])
      expect(text(`{"v":"${spelled}"}`)).toBe('{"v":"<REDACTED>"}')
  })

  test('a long one that is cut does not survive in part', () => {
    const secret = 'very-long'.repeat(700)
    const { value } = createRedactor({ knownSecrets: [secret] })
    for (const at of [0, 1000, 2000, 4000])
      expect(JSON.stringify(value({ text: `${'x '.repeat(at / 2)}${secret} ${'y '.repeat(9000)}` }, { maxBytes: 4096 }))).not.toContain(
        'very',
      )
  })

  test('nor does a long JWT', () => {
    const jwt = `eyJhbGciOiJFUzI1NiJ9.${'claims'.repeat(1500)}.c2lnbmF0dXJl`
    for (const at of [0, 1000, 2000, 4000])
      expect(JSON.stringify(redactor.value({ text: `${'x '.repeat(at / 2)}${jwt}` }, { maxBytes: 4096 }))).not.toContain('claims')
  })

  test('the longer of two goes first', () => {
    expect(createRedactor({ knownSecrets: ['abcd', 'abcdefgh'] }).text('abcdefgh abcd')).toBe('<REDACTED> <REDACTED>')
  })

  test('are added and removed, as often as they were added', () => {
    const { add, remove, text } = createRedactor()
    expect(add('swordfish')).toBe(true)
    expect(add('swordfish')).toBe(true)
    remove('swordfish')
    expect(text('a swordfish')).toBe('a <REDACTED>')
    remove('swordfish')
    remove('swordfish')
    expect(text('a swordfish')).toBe('a swordfish')
  })

  test('one too short to tell from ordinary text is not taken', () => {
    const { add, text } = createRedactor({ knownSecrets: [''] })
    expect(add('abc')).toBe(false)
    expect(text('abcabc')).toBe('abcabc')
  })

  test('a secret that becomes known is found in what passed before, as a value and as a name', () => {
    const redactor = createRedactor()
    expect([redactor.value('my swordfish'), redactor.value({ swordfish: 1 })]).toEqual(['my swordfish', { swordfish: 1 }])
    redactor.add('swordfish')
    expect([redactor.value('my swordfish'), redactor.value({ swordfish: 1 })]).toEqual(['my <REDACTED>', { '<REDACTED>': 1 }])
    redactor.remove('swordfish')
    expect(redactor.value('my swordfish')).toBe('my swordfish')
  })

  test('names beyond those that are remembered are judged too', () => {
    const { value } = createRedactor()
    for (let i = 0; i < 1100; i++) value({ [`name${i}`]: i })
    expect(value({ apiKey: 'x', other: 'y' })).toEqual({ apiKey: '<REDACTED>', other: 'y' })
    expect(value({ apiKey: 'x', other: 'y' })).toEqual({ apiKey: '<REDACTED>', other: 'y' })
  })

  test('are found in keys and values of a value', () => {
    const { value } = createRedactor({ knownSecrets: ['swordfish'] })
    expect(value({ swordfish: ['a swordfish', 1] })).toEqual({ '<REDACTED>': ['a <REDACTED>', 1] })
  })
})

describe('values', () => {
  test.each([
    'password',
    'Passwd',
    'passPhrase',
    'secret',
    'client_secret',
    'clientSecret',
    'token',
    'access-token',
    'refreshToken',
    'ID_TOKEN',
    'api_key',
    'apiKey',
    'X-API-Key',
    'Authorization',
    'proxy-authorization',
    'cookie',
    'Set-Cookie',
    'private_key',
    'credential',
    'credentials',
    'sessionToken',
    'requestState',
  ])('the member %s', (name) => {
    for (const secret of ['x', 5, null, ['x'], { user: 'x' }]) {
      expect(redactor.value({ a: [{ [name]: secret }] })).toEqual({ a: [{ [name]: '<REDACTED>' }] })
    }
  })

  test('members of other names stay', () => {
    const value = { progressToken: 'a1', nextCursor: 'x', tokens: 5, tokenCount: 7, keyboard: 'x', secretary: 'y', author: 'z' }
    expect(redactor.value(value)).toEqual(value)
  })

  test('strings anywhere are searched', () => {
    expect(redactor.value(['Bearer abcdef123', { x: 'ghp_0123456789abcdefghij', n: null, t: true }])).toEqual([
      'Bearer <REDACTED>',
      { x: '<REDACTED>', n: null, t: true },
    ])
    expect(redactor.value('spt_abcdefgh1234')).toBe('<REDACTED>')
  })

  test('kinds JSON does not know', () => {
    expect(redactor.value([new Error('token=abc'), new Date(0), 12n, Buffer.from('abc'), undefined])).toEqual([
      { name: 'Error', message: 'token=<REDACTED>' },
      '1970-01-01T00:00:00.000Z',
      '12',
      '…[+3 bytes]',
      undefined,
    ])
  })

  test('__proto__ stays a member and exact numbers stay exact', () => {
    const text = '{"__proto__":{"n":1.0},"constructor":12345678901234567890}'
    expect(renderExact(redactor.value(parseExact(text)))).toBe(text)
    expect(renderExact(redactor.value(parseExact(`[1.${'0'.repeat(100_000)}]`), { maxBytes: 200 })).length).toBeLessThanOrEqual(200)
  })

  test('the value itself is not changed', () => {
    const value = { password: 'x', list: ['y'.repeat(1000)] }
    redactor.value(value, { maxBytes: 100 })
    expect(value).toEqual({ password: 'x', list: ['y'.repeat(1000)] })
  })
})

describe('sizes', () => {
  test('a long string is cut, short neighbours stay', () => {
    expect(redactor.value({ a: 'x'.repeat(5000), b: 1, c: 'y' }, { maxBytes: 600 })).toEqual({
      a: `${'x'.repeat(300)}…[+4700 bytes]`,
      b: 1,
      c: 'y',
    })
  })

  test('bytes are counted, not characters, and no character is cut in two', () => {
    expect(redactor.value('€'.repeat(1000), { maxBytes: 200 })).toBe(`${'€'.repeat(50)}…[+2850 bytes]`)
    const cut = redactor.value(`x${'😀'.repeat(1000)}`, { maxBytes: 200 })
    expect(cut).toBe(`x${'😀'.repeat(24)}…[+3904 bytes]`)
  })

  test('a long list is pruned, and what follows it stays', () => {
    const rows = Array.from({ length: 100_000 }, (_, i) => i)
    const pruned = redactor.value({ rows, done: true }, { maxBytes: 100 })
    expect(bytesOf(pruned)).toBeLessThanOrEqual(100)
    expect(pruned).toMatchObject({ rows: expect.arrayContaining([0, 1]), done: true })
    expect(JSON.stringify(pruned)).toMatch(/"…\[\+\d+ items\]"/)
  })

  test('many members', () => {
    const pruned = redactor.value(Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`key${i}`, i])), { maxBytes: 300 })
    expect(bytesOf(pruned)).toBeLessThanOrEqual(300)
    expect(pruned).toMatchObject({ key0: 0, '…': expect.stringMatching(/^\[\+\d+ members\]$/) })
  })

  test('what cannot be shown at all', () => {
    expect(redactor.value([[[[['x'.repeat(100)]]]]], { maxBytes: 20 })).toMatch(/^…\[\+\d+ bytes\]$/)
  })

  test('depth is bounded', () => {
    const deep: unknown = JSON.parse(`${'[['.repeat(50_000)}${']]'.repeat(50_000)}`)
    const shallow = redactor.value(deep)
    expect(JSON.stringify(shallow)).toBe(`${'['.repeat(32)}"…[+1 items]"${']'.repeat(32)}`)
  })

  test('a secret at the place of the cut does not survive in part', () => {
    for (let at = 4500; at < 4800; at += 1) {
      const known = createRedactor({ knownSecrets: ['a-secret-that-is-known-by-value'] })
      const text = `${'x '.repeat(at / 2)}a-secret-that-is-known-by-value ${'y'.repeat(9000)}`
      const rendered = JSON.stringify(known.value({ text }, { maxBytes: at }))
      expect(rendered).not.toContain('a-secret')
    }
  })

  test('nor one that the end of the searched part cuts, when what was redacted before it made room', () => {
    const known = createRedactor({ knownSecrets: ['a-secret-that-is-known-by-value'] })
    for (let at = 5500; at < 6500; at++) {
      const text = `token=${'a'.repeat(4000)} `.padEnd(at, 'y ') + `a-secret-that-is-known-by-value ${'z'.repeat(9000)}`
      expect(JSON.stringify(known.value({ text }, { maxBytes: 4096 }))).not.toContain('a-secret')
    }
  })

  test('any value fits, in valid JSON', () => {
    const limit = fc.integer({ min: 64, max: 2000 })
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' }), fc.nat(4000), limit, (json, repeat, maxBytes) => {
        const value = { json, list: Array.from({ length: repeat % 50 }, () => json), text: '\u0001é'.repeat(repeat) }
        expect(bytesOf(redactor.value(value, { maxBytes }))).toBeLessThanOrEqual(maxBytes)
      }),
    )
  })

  test('a value without secrets that fits is copied as it is', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (json) => {
        fc.pre(bytesOf(json) < 8000 && !/pass|secret|token|key|cookie|credential|basic|bearer|:\/\/|sk-/i.test(JSON.stringify(json)))
        expect(JSON.stringify(redactor.value(json))).toBe(JSON.stringify(json))
      }),
    )
  })
})

describe('headers', () => {
  test('secret ones are replaced, others searched, absent ones left out', () => {
    const headers = {
      Authorization: 'Bearer x',
      'x-api-key': ['a', 'b'],
      'set-cookie': ['a=b'],
      forwarded: ['for=1', 'token=abc'],
      'x-forwarded-authorization': 'Bearer abcdefgh',
      accept: 'text/html',
      absent: undefined,
    }
    expect(redactHeaders(headers)).toEqual({
      Authorization: '<REDACTED>',
      'x-api-key': '<REDACTED>',
      'set-cookie': '<REDACTED>',
      forwarded: ['for=1', 'token=<REDACTED>'],
      'x-forwarded-authorization': 'Bearer <REDACTED>',
      accept: 'text/html',
    })
    expect(redactHeaders({ a: 'xyz swordfish' }, createRedactor({ knownSecrets: ['swordfish'] }).text)).toEqual({ a: 'xyz <REDACTED>' })
  })
})

test('what holds no secret and is short is given back itself, with the same result as a copy', () => {
  const plain = { name: 'echo', arguments: { message: 'hello', n: [1, 2.5, null, true] } }
  expect(redactor.value(plain, { maxBytes: 100 })).toBe(plain)
  expect(redactor.value({ to_ken: 'x' })).toEqual({ to_ken: '<REDACTED>' })
  const { value } = createRedactor({ knownSecrets: ['sword-of-damocles'] })
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('sword-of-damocles', 'Bearer abcdefghijkl', 'to-k-en', 'k'.repeat(129), 'x'.repeat(300), 'ä'.repeat(200)),
  )
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 9 },
      text,
      fc.double({ noNaN: true }),
      fc.constantFrom(true, null),
      fc.array(tie('value'), { maxLength: 40 }),
      fc.dictionary(text, tie('value'), { maxKeys: 9 }),
    ),
  })).value
  fc.assert(
    fc.property(json, fc.constantFrom(200, 1000, 4096), (given, maxBytes) => {
      // A Date makes it copy everything; its own text is charged for.
      const copied = value({ given, at: new Date(0) }, { maxBytes: maxBytes + 100 })
      const kept = value(given, { maxBytes })
      if (kept === given && typeof given === 'object') expect(copied).toMatchObject({ given })
      expect(JSON.stringify(kept)).not.toContain('sword-of-damocles')
    }),
    { numRuns: 1000 },
  )
})

test('what is longer than all that is wanted is cut to half of that, and says how much is missing', () => {
  const { value } = createRedactor()
  expect(value({ text: 'x'.repeat(10_000) }, { maxBytes: 4096 })).toEqual({ text: `${'x'.repeat(2048)}…[+7952 bytes]` })
  const secret = `ghp_${'a'.repeat(36)}`
  // The cut goes through the secret, of which nothing is left.
  const cut = JSON.stringify(value({ text: `${'x'.repeat(2030)}${secret} ${'y'.repeat(10_000)}` }, { maxBytes: 4096 }))
  expect(cut).not.toContain('ghp_')
  expect(cut).toContain('x'.repeat(2000))
})
