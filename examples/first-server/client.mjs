import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const { SALLYPORT_URL, SALLYPORT_TOKEN } = process.env
const transport = new StreamableHTTPClientTransport(new URL(SALLYPORT_URL), {
  requestInit: { headers: { authorization: `Bearer ${SALLYPORT_TOKEN}` } },
})
const client = new Client({ name: 'first-server-example', version: '1.0.0' })
await client.connect(transport)

const { tools } = await client.listTools()
console.log('tools:', tools.map((tool) => tool.name).join(' '))

const sum = await client.callTool({ name: 'get-sum', arguments: { a: 1, b: 2 } })
console.log('get-sum:', sum.content[0].text)

for (const call of [
  { name: 'get-sum', arguments: { a: 1, b: 200 } },
  { name: 'get-env', arguments: {} },
]) {
  await client.callTool(call).catch((error) => console.log('refused:', error.message))
}

await transport.terminateSession()
await client.close()
