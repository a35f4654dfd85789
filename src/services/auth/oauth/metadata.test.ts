import { expect, test } from 'vitest'
import { findAudience, issuerOf } from './issuer.ts'
import { findMetadata } from './metadata.ts'
import { serversOf } from './scopes.ts'

const options = {
  issuer: 'https://mcp.example.com',
  origin: 'https://mcp.example.com',
  grantTypes: ['authorization_code'],
  takesIdJag: false,
}

test.each([
  '/.well-known/oauth-protected-resource/v1/whoami',
  '/.well-known/oauth-protected-resource/mcp/apps/',
  '/.well-known/oauth-protected-resource/mcp/apps/a/b',
  '/.well-known/oauth-protected-resource/mcp/apps/%2e%2e',
  '/.well-known/oauth-protected-resource/mcpx',
  '/.well-known/oauth-authorization-server/elsewhere',
  '/mcp/apps/a/b/.well-known/openid-configuration',
])('%s is about nothing here', (path) => expect(findMetadata(path, options)).toBeUndefined())

test.each([
  ['', '/mcp'],
  ['/mcp', '/mcp'],
  ['/mcp/apps/slack', '/mcp/apps/slack'],
  ['/mcp/apps/slack/sse', '/mcp/apps/slack/sse'],
  ['/mcp/sets/some', '/mcp/sets/some'],
])('the document about %s names what it was made of', (path, resource) => {
  expect(findMetadata(`/.well-known/oauth-protected-resource${path}`, { ...options, origin: 'https://other.example.com:8443' })).toEqual({
    resource: `https://other.example.com:8443${resource}`,
    authorization_servers: ['https://mcp.example.com'],
    scopes_supported: ['mcp'],
    bearer_methods_supported: ['header'],
    resource_name: 'Sallyport',
  })
})

test.each([
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server/mcp/apps/slack',
  '/.well-known/openid-configuration/mcp',
  '/mcp/apps/slack/.well-known/openid-configuration',
])('%s is about the authorization server', (path) => {
  expect(findMetadata(path, options)).toMatchObject({
    issuer: 'https://mcp.example.com',
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    client_id_metadata_document_supported: true,
  })
})

test('the issuer is plain on loopback only', () => {
  expect(issuerOf('127.0.0.1:3080')).toBe('http://127.0.0.1:3080')
  expect(issuerOf('localhost:3080')).toBe('http://localhost:3080')
  expect(issuerOf('mcp.example.com:443')).toBe('https://mcp.example.com')
  expect(issuerOf('mcp.example.com:8443')).toBe('https://mcp.example.com:8443')
  expect(issuerOf('10.0.0.1:3080')).toBe('https://10.0.0.1:3080')
})

test.each([
  'https://evil.example.com/mcp',
  'https://mcp.example.com.evil.com/mcp',
  'https://mcp.example.com@evil.com/mcp',
  'http://mcp.example.com/mcp',
  'https://mcp.example.com:8443/mcp',
  'https://mcp.example.com/mcp?x=1',
  'https://mcp.example.com/mcp#x',
  'https://user@mcp.example.com/mcp',
  'https://mcp.example.com/',
  'https://mcp.example.com/v1/whoami',
  'http://localhost:443/mcp',
  'urn:mcp',
  '',
])('no audience for %s', (resource) =>
  expect(findAudience(resource, 'https://mcp.example.com', ['second.example.com:8443'])).toBeUndefined(),
)

test.each([
  ['https://mcp.example.com/mcp/', 'https://mcp.example.com/mcp'],
  ['https://MCP.example.com:443/mcp/apps/a%20b', undefined],
  ['https://mcp.example.com/mcp/apps/slack/sse', 'https://mcp.example.com/mcp/apps/slack'],
  ['https://second.example.com:8443/mcp/sets/x', 'https://mcp.example.com/mcp/sets/x'],
])('of %s it is %s', (resource, audience) =>
  expect(findAudience(resource, 'https://mcp.example.com', ['second.example.com:8443'])).toBe(audience),
)

test('loopback has several names', () => {
  expect(findAudience('http://localhost:3080/mcp', 'http://127.0.0.1:3080', [])).toBe('http://127.0.0.1:3080/mcp')
  expect(findAudience('http://localhost:3081/mcp', 'http://127.0.0.1:3080', [])).toBeUndefined()
})

test('scopes leave open what they name', () => {
  expect(serversOf(['mcp', 'mcp:server:a'])).toBeUndefined()
  expect(serversOf(['mcp:server:a', 'mcp:server:b%2Fc', 'openid'])).toEqual(['a', 'b/c'])
  expect(serversOf(['mcp:server:%'])).toEqual([])
  expect(serversOf(['mcp:read', ''])).toEqual([])
})
