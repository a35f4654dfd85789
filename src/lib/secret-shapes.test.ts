import { describe, expect, test } from 'vitest'
import { isSecretName, redactShapes } from './secret-shapes.ts'

const JWT = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl-_'

/** JSON in a text in JSON, so many times. */
function nest(value: unknown, depth: number): string {
  let text = JSON.stringify(value)
  for (let level = 1; level < depth; level++) text = JSON.stringify(text)
  return text
}

describe('shapes', () => {
  test.each([
    ['a -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- b', 'a <REDACTED> b'],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\\nb3Bl\\n-----END OPENSSH PRIVATE KEY-----\\n', '<REDACTED>\\n'],
    ['x -----BEGIN EC PRIVATE KEY-----\nMHcC and cut', 'x <REDACTED>'],
    ['-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----', '<REDACTED>'],
    [`got ${JWT}, ok`, 'got <REDACTED>, ok'],
    [`x_${JWT}`, 'x_<REDACTED>'],
    [`eyJ eyJhbGciOiJFUzI1NiJ9 ${JWT} ${JWT}`, 'eyJ eyJhbGciOiJFUzI1NiJ9 <REDACTED> <REDACTED>'],
    [`eyJx.${JWT}`, 'eyJx.<REDACTED>'],
    ['eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn', '<REDACTED>'],
    ['cut eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9aaaa', 'cut <REDACTED>'],
    ['header Bearer abc.def~12 end', 'header Bearer <REDACTED> end'],
    ['BEARER%20abcdef', 'BEARER%20<REDACTED>'],
    ['Bearer token-abc', 'Bearer <REDACTED>'],
    ['basic dXNlcjpwYXNz', 'basic <REDACTED>'],
    ['postgres://app:hunter2@db:5432/x', 'postgres://app:<REDACTED>@db:5432/x'],
    ['https://:p@ss:w@host https://a:b@c', 'https://:<REDACTED>@host https://a:<REDACTED>@c'],
    ['AKIAIOSFODNN7EXAMPLE', '<REDACTED>'],
    ['id=ASIAIOSFODNN7EXAMPLE;', 'id=<REDACTED>;'],
    ['aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'aws_secret_access_key = <REDACTED>'],
    ['AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG', 'AWS_SECRET_ACCESS_KEY=<REDACTED>'],
    ['ghp_16C7e42F292c6912E7710c838347Ae178B4a', '<REDACTED>'],
    ['gho_16C7e42F292c6912E771 ghs_16C7e42F292c6912E771 ghu_16C7e42F292c6912E771', '<REDACTED> <REDACTED> <REDACTED>'],
    ['github_pat_11ABCDEFG0abcdefghijkl_mnop', '<REDACTED>'],
    ['glpat-aBcDeFgHiJkLmNoPqRsT', '<REDACTED>'],
    ['xoxb-1234567890-abcdef', '<REDACTED>'],
    ['sk-proj-abcdefghijklmnop1234 sk-ant-api03-abcdefghijklmnop', '<REDACTED> <REDACTED>'],
    ['AIzaSyA-1234567890abcdefghijklmnopqrstu', '<REDACTED>'],
    ['sk_live_abcdefghijkl rk_live_abcdefghijkl', '<REDACTED> <REDACTED>'],
    ['npm_abcdefghijklmnopqrstuvwxyz0123456789', '<REDACTED>'],
    ['join with spt_Zm9vYmFyYmF6 now', 'join with <REDACTED> now'],
  ])('%j', (text, expected) => {
    expect(redactShapes(text)).toBe(expected)
  })

  test.each([
    ['password=hunter2&x=1', 'password=<REDACTED>&x=1'],
    ['Password: hunter2, ok', 'Password: <REDACTED>, ok'],
    ["passwd = 'two words' x", "passwd = '<REDACTED>' x"],
    ['{"client_secret": "a \\" b", "x": 1}', '{"client_secret": "<REDACTED>", "x": 1}'],
    ['{\\"apiKey\\":\\"a b\\",\\"x\\":1}', '{\\"apiKey\\":\\"<REDACTED>\\",\\"x\\":1}'],
    ['api-key:abc api_key:abc apikey=abc', 'api-key:<REDACTED> api_key:<REDACTED> apikey=<REDACTED>'],
    ['DB_TOKEN=abc\\nNEXT=1', 'DB_TOKEN=<REDACTED>\\nNEXT=1'],
    ['private_key: "abc', 'private_key: "<REDACTED>'],
    ['?access_token=abc#x', '?access_token=<REDACTED>'],
    ['tsh --password hunter2 --token=abc -v', 'tsh --password <REDACTED> --token=<REDACTED> -v'],
    ["curl -H 'Authorization: Digest username=x, response=y' z", "curl -H 'Authorization: <REDACTED>' z"],
    ['authorization: Bearer abcdefgh\r\nhost: x', 'authorization: <REDACTED>\r\nhost: x'],
    ['set-cookie: a=b; path=/\nx', 'set-cookie: <REDACTED>\nx'],
    ['secret=a secret=b', 'secret=<REDACTED> secret=<REDACTED>'],
    ['API Key: abc, access key=def', 'API Key: <REDACTED>, access key=<REDACTED>'],
    // Quotes and backslashes in a value of JSON that stands in JSON, at each depth.
    [nest({ password: 'a"b', x: 1 }, 2), nest({ password: '<REDACTED>', x: 1 }, 2)],
    [nest({ password: 'a\\', x: 1 }, 2), nest({ password: '<REDACTED>', x: 1 }, 2)],
    [nest({ password: 'a\\"b', x: 1 }, 2), nest({ password: '<REDACTED>', x: 1 }, 2)],
    [nest({ password: 'a"b\\', x: 1 }, 3), nest({ password: '<REDACTED>', x: 1 }, 3)],
    [nest({ password: 'a\\\\"b', x: 1 }, 4), nest({ password: '<REDACTED>', x: 1 }, 4)],
  ])('assigned: %j', (text, expected) => {
    expect(redactShapes(text)).toBe(expected)
    expect(redactShapes(expected)).toBe(expected)
  })

  test.each([
    'a Bearer token is required',
    'use basic authentication',
    'the password must be long',
    'nextPageToken=abc progressToken: 5 max_tokens=100',
    'risk-assessment-for-the-quarter task-0123456789abcdefghij',
    'https://example.com:8080/a@b http://user@host/',
    'eyJust.a.word',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    '--password --token -x',
    '{"token": {"id": 1}}',
    'npm_config_registry ghp_short',
  ])('left alone: %j', (text) => {
    expect(redactShapes(text)).toBe(text)
  })
})

test('names', () => {
  expect(['Password', 'X-Api-Key', 'clientSecret', 'id_token', 'requestState'].map(isSecretName)).toEqual([true, true, true, true, true])
  expect(
    ['DB_PASSWORD', 'userPassword', 'PGPASSWORD', 'openai_api_key', 'API Key', 'webhook-secret', 'signingKey'].map(isSecretName),
  ).toEqual([true, true, true, true, true, true, true])
  expect([`${'x'.repeat(100)}_token`, 'github_token'].map(isSecretName)).toEqual([true, true])
  expect(['next_page_token', 'nextToken', 'token_count', 'public_key', 'monkey'].map(isSecretName)).toEqual([
    false,
    false,
    false,
    false,
    false,
  ])
  expect(['', 'passwords', 'progressToken', 'k'.repeat(1_000_000)].map(isSecretName)).toEqual([false, false, false, false])
})

describe('a megabyte made to be slow ends', () => {
  const units = [
    'eyJ',
    'eyJaaaaaaaaaaaa.',
    'eyJaaaaaaaaaaaa.b',
    '-----BEGIN ',
    '-----BEGIN RSA PRIVATE KEY----',
    '-----BEGIN PRIVATE KEY-----',
    '://',
    '://a:',
    '://a:b',
    'bearer ',
    'basic a',
    'token',
    'token=',
    'token="',
    'token=\\"',
    'password=\\',
    'password=\\"a\\\\\\"',
    '\\\\\\"',
    '--',
    '--token ',
    '--a',
    'sk-',
    'sk-aaaaaaaaaaaaaaa ',
    'AKIA',
    'ghp_',
    'github_pat_',
    'xoxb-',
    'authorization:',
    'secret-access-',
    'a',
    '\\',
    '"',
    ' ',
    '=',
  ]

  test.each(units)('of %j', (unit) => {
    const text = unit.repeat(Math.ceil(1_000_000 / unit.length))
    for (const start of ['', 'token ', '://', '-----BEGIN RSA PRIVATE KEY', 'password="']) {
      expect(redactShapes(start + text).length).toBeGreaterThan(0)
    }
  })

  test('a text of many megabytes does not overflow the regex engine', () => {
    for (const start of ['password="', 'password=', '-----BEGIN PRIVATE KEY-----', 'spt_', 'bearer ', 'basic ', 'eyJ', '://', '://a:']) {
      expect(redactShapes(`${start}${'a'.repeat(20_000_000)}`).length).toBeGreaterThan(0)
    }
    expect(redactShapes(`password="${'\\"'.repeat(10_000_000)}`)).toBe('password="<REDACTED>')
  })
})
