// An MCP server that believes nobody but the gateway: every request has to carry a word about the caller, signed by the cluster.
// An ordinary JWT library verifies it against the keys that the proxy publishes.
import { createServer } from 'node:http'
import { McpServer } from '@modelcontextprotocol/server'
import { NodeStreamableHTTPServerTransport } from '@modelcontextprotocol/node'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { SALLYPORT_URL = 'http://127.0.0.1:3080', CLUSTER = 'sallyport', PORT = '4000' } = process.env
const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', SALLYPORT_URL))

async function callerOf(request) {
  const { payload } = await jwtVerify(String(request.headers['teleport-jwt-assertion']), keys, {
    issuer: CLUSTER,
    audience: `mcp+http://127.0.0.1:${server.address().port}/mcp`, // as spec.uri of app.yaml
    algorithms: ['ES256'],
  })
  return payload
}

async function serve(request, response) {
  const caller = await callerOf(request).catch((error) => console.error(`refused: ${error.message}`))
  if (!caller) return response.writeHead(401).end()
  const server = new McpServer({ name: 'who-calls', version: '1.0.0' })
  server.registerTool('whoami', { description: 'Who the gateway says is calling' }, () => ({
    content: [{ type: 'text', text: `${caller.sub} with ${caller.roles.join(', ')}; groups: ${caller.traits.groups?.join(', ')}` }],
  }))
  const transport = new NodeStreamableHTTPServerTransport({ sessionIdGenerator: undefined })
  await server.connect(transport)
  await transport.handleRequest(request, response)
}

const server = createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error)
    response.destroy()
  })
})
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
