import { expect, test } from 'vitest'
import type { Caller } from '../../mcp/caller.ts'
import { headersNow } from '../../mcp/upstream/own-headers.ts'
import { appSchema } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { NO_SECRETS, ownHeaders, type SecretSource, type TokenSource } from './headers.ts'

const identity: Identity = {
  kind: 'user',
  name: 'ana',
  roles: [],
  traits: { team: ['blue', 'red'], evil: ['a\r\nx: y'], nul: ['\0'], far: ['日本'], latin: ['é'], comma: ['blue,admin', 'red'] },
  credential: 'api_token',
  credentialId: 't',
  expiresAt: 1,
  mfaVerified: false,
}
const tokens: TokenSource = { get: (type, server) => `${type}-of-${server}` }

function run(...headers: { name: string; value: string }[]): unknown {
  return headersNow(source(headers))
}

const secrets: SecretSource = {
  get(name, server) {
    if (name === 'broken') return 'one\ntwo'
    if (name === 'tricky') return '{{external.team}} $& {{secret.key}}'
    return name === 'key' ? 's3cret\n' : NO_SECRETS.get(name, server)
  },
}

function source(headers: { name: string; value: string }[], from = tokens, caller = callerOf('ana'), uri = 'mcp+http://127.0.0.1:1') {
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'a' }, spec: { uri, rewrite: { headers } } })
  return ownHeaders(app, () => caller, from, secrets)
}

function callerOf(name: string): Caller {
  return {
    identity: { ...identity, name },
    assertion: 'x',
    access: () => {
      throw new Error('not asked')
    },
    reasonToLeave: () => undefined,
  }
}

test.each([
  'Host',
  'content-length',
  'Transfer-Encoding',
  'Mcp-Session-Id',
  'MCP-Protocol-Version',
  'Mcp-Method',
  'mcp-name',
  'Last-Event-ID',
  'Mcp-Param-X',
  'Expect',
  'Upgrade',
  'Teleport-Jwt-Assertion',
])('%s belongs to the connection or the protocol', (name) => {
  expect(() => run({ name, value: 'x' })).toThrow(
    expect.objectContaining({ code: 'failed_precondition', message: expect.stringContaining(name) }),
  )
})

test.each(['evil', 'nul', 'far', 'comma'])('a trait that cannot stand in a header is refused: %s', (trait) => {
  expect(() => run({ name: 'x-team', value: `{{external.${trait}}}` })).toThrow(expect.objectContaining({ code: 'failed_precondition' }))
})

test('signed identities go where a template wants them, and always into their own header', () => {
  const headers = [
    { name: 'Authorization', value: 'Bearer {{internal.jwt}}' },
    { name: 'x-id', value: '{{ internal.id_token }}' },
  ]
  expect(run(...headers)).toEqual({ authorization: 'Bearer jwt-of-a', 'x-id': 'id_token-of-a', 'teleport-jwt-assertion': 'jwt-of-a' })
})

test('a token that has to be fetched is waited for, and the same headers are the same object', async () => {
  let held: string | undefined
  const own = source([], { get: () => held ?? Promise.resolve('fetched') })
  expect(await headersNow(own)).toEqual({ 'teleport-jwt-assertion': 'fetched' })
  held = 'fetched'
  const first = headersNow(own)
  expect(first).toBe(headersNow(own))
  held = 'renewed'
  expect(headersNow(own)).toEqual({ 'teleport-jwt-assertion': 'renewed' })
  await expect(headersNow(source([], { get: () => Promise.reject(new Error('locked')) }))).rejects.toThrow('locked')
})

test('a program is sent no headers, and no token is asked for', () => {
  const app = appSchema.parse({
    kind: 'app',
    version: 'v3',
    metadata: { name: 'a' },
    spec: { mcp: { command: 'x', run_as_host_user: 'y' } },
  })
  const never = { get: () => Promise.reject(new Error('asked')) }
  expect(ownHeaders(app, () => callerOf('ana'), never, NO_SECRETS)).toEqual({})
})

test.each(['missing', 'broken'])('a header with a secret that is %s is never sent', (name) => {
  expect(() => run({ name: 'x-key', value: `Bearer {{secret.${name}}}` })).toThrow(
    expect.objectContaining({ code: 'failed_precondition', message: expect.stringContaining(`"${name}"`) }),
  )
})

test('a trait cannot name a secret', () => {
  const value = '{{secret.key}}{{external.team}}'
  expect(() => run({ name: 'x-key', value })).toThrow('no other template')
  const caller = { ...callerOf('ana'), identity: { ...identity, traits: { team: ['{{secret.key}}'] } } }
  expect(headersNow(source([{ name: 'x-team', value: '{{external.team}}' }], tokens, caller))).toMatchObject({ 'x-team': '{{secret.key}}' })
})

test('secrets are filled in as they are, without the line break of their file', () => {
  expect(run({ name: 'x-key', value: 'Bearer {{ secret.key }}' })).toMatchObject({ 'x-key': 'Bearer s3cret' })
  expect(run({ name: 'x-key', value: '{{secret.tricky}}' })).toMatchObject({ 'x-key': '{{external.team}} $& {{secret.key}}' })
})

test('templates are filled with all values, and leave out the header without one', () => {
  expect(
    run(
      { name: 'X-Team', value: '{{external.team}}' },
      { name: 'x-none', value: '{{external.none}}' },
      { name: 'Authorization', value: 'Bearer s' },
    ),
  ).toEqual({
    'x-team': 'blue, red',
    authorization: 'Bearer s',
    'teleport-jwt-assertion': 'jwt-of-a',
  })
  expect(run({ name: 'x-l', value: '{{external.latin}}' })).toMatchObject({ 'x-l': 'é' })
})
