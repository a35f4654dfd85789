import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createApiToken, parseApiToken } from './api-token.ts'

const ZEROS = createApiToken((bytes) => new Uint8Array(bytes))

test('refuses every single changed character', () => {
  const { token } = createApiToken(randomBytes)
  for (let at = 0; at < token.length; at++) {
    const changed = token.slice(0, at) + (token[at] === 'x' ? 'y' : 'x') + token.slice(at + 1)
    expect(parseApiToken(changed), `position ${at}`).toBeUndefined()
  }
})

test('refuses other shapes', () => {
  const { token } = createApiToken(randomBytes)
  for (const text of [
    '',
    'spt_',
    token.slice(1),
    token.slice(0, -1),
    `${token}0`,
    `${token}\n`,
    ` ${token}`,
    token.toLowerCase(),
    token.repeat(1000),
  ])
    expect(parseApiToken(text)).toBeUndefined()
})

test('the shape of a token', () => {
  expect(ZEROS.token).toBe('spt_00000000000_000000000000000000000000000000000000000000014NRH2')
  expect(ZEROS.id).toBe('00000000000')
  expect(createApiToken((bytes) => new Uint8Array(bytes).fill(255)).token).toMatch(
    /^spt_LygHa16AHYF_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1[0-9A-Za-z]{6}$/,
  )
})

test('is found again by id and hash; neither gives the token away', () => {
  const { id, token, hash } = createApiToken(randomBytes)
  expect(parseApiToken(token)).toEqual({ id, hash })
  expect(hash).toBe(createHash('sha256').update(token).digest('hex'))
  expect(token.startsWith(`spt_${id}_`)).toBe(true)
})

test('two tokens share neither id nor secret', () => {
  const [one, two] = [createApiToken(randomBytes), createApiToken(randomBytes)]
  expect(one.id).not.toBe(two.id)
  expect(one.token.slice(16)).not.toBe(two.token.slice(16))
})
