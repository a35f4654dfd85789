import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const { SALLYPORT_URL, SALLYPORT_TOKEN, DIRECT_URL = 'http://127.0.0.1:4000/mcp' } = process.env

async function ask(url, headers) {
  const client = new Client({ name: 'who-calls', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))
  const { content } = await client.callTool({ name: 'whoami', arguments: {} })
  await client.close()
  return content[0].text
}

console.log(`through the gateway: ${await ask(SALLYPORT_URL, { authorization: `Bearer ${SALLYPORT_TOKEN}` })}`)
const forged = { 'teleport-jwt-assertion': 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.' }
console.log(`past it: ${await ask(DIRECT_URL, forged).catch(() => 'turned away')}`)
