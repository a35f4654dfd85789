// The same for a server that is a program: each request carries the word of the cluster in its `_meta`, as app-stdio.yaml asks for.
// One process may serve many callers: it is the request that says whose it is.
import { McpServer } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { SALLYPORT_URL = 'http://127.0.0.1:3080', CLUSTER = 'sallyport', NAME = 'who-calls-stdio' } = process.env
const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', SALLYPORT_URL))

async function callerOf(meta) {
  const { payload } = await jwtVerify(String(meta?.['sallyport.dev/jwt']), keys, {
    issuer: CLUSTER,
    audience: `mcp+stdio://${NAME}`, // a program has no address: the name of the app
    algorithms: ['ES256'],
  })
  return payload
}

serveStdio(() => {
  const server = new McpServer({ name: 'who-calls-stdio', version: '1.0.0' })
  server.registerTool('whoami', { description: 'Who the gateway says is calling' }, async ({ mcpReq }) => {
    const caller = await callerOf(mcpReq._meta)
    return {
      content: [{ type: 'text', text: `${caller.sub} with ${caller.roles.join(', ')}; groups: ${caller.traits.groups?.join(', ')}` }],
    }
  })
  return server
})
