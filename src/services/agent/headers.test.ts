import { expect, test } from 'vitest'
import { appSchema } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { rewrittenHeaders } from './headers.ts'

const identity: Identity = {
  kind: 'user',
  name: 'ana',
  roles: [],
  traits: { team: ['blue', 'red'], evil: ['a\r\nx: y'], nul: ['\0'], far: ['日本'], latin: ['é'] },
  credential: 'api_token',
  credentialId: 't',
  expiresAt: 1,
  mfaVerified: false,
}

function run(...headers: { name: string; value: string }[]): Record<string, string> {
  return rewrittenHeaders(
    appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'a' }, spec: { uri: 'mcp+http://127.0.0.1:1', rewrite: { headers } } }),
    identity,
  )
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
])('%s belongs to the connection or the protocol', (name) => {
  expect(() => run({ name, value: 'x' })).toThrow(
    expect.objectContaining({ code: 'failed_precondition', message: expect.stringContaining(name) }),
  )
})

test.each(['evil', 'nul', 'far'])('a trait that cannot stand in a header is refused: %s', (trait) => {
  expect(() => run({ name: 'x-team', value: `{{external.${trait}}}` })).toThrow(expect.objectContaining({ code: 'failed_precondition' }))
})

test('signed identities are refused, not sent as text', () => {
  expect(() => run({ name: 'authorization', value: 'Bearer {{internal.jwt}}' })).toThrow(expect.objectContaining({ code: 'unimplemented' }))
})

test('templates are filled with the first value, and leave out the header without one', () => {
  expect(
    run(
      { name: 'X-Team', value: '{{external.team}}' },
      { name: 'x-none', value: '{{external.none}}' },
      { name: 'Authorization', value: 'Bearer s' },
    ),
  ).toEqual({
    'x-team': 'blue',
    authorization: 'Bearer s',
  })
  expect(run({ name: 'x-l', value: '{{external.latin}}' })).toEqual({ 'x-l': 'é' })
})
