import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const { SALLYPORT_URL, SALLYPORT_TOKEN } = process.env

for (const path of ['/mcp', '/mcp/sets/sums']) {
  const transport = new StreamableHTTPClientTransport(new URL(path, SALLYPORT_URL), {
    requestInit: { headers: { authorization: `Bearer ${SALLYPORT_TOKEN}` } },
  })
  const client = new Client({ name: 'one-url-example', version: '1.0.0' })
  await client.connect(transport)

  const { tools } = await client.listTools()
  console.log(`${path}: ${tools.map((tool) => tool.name).join(' ')}`)
  if (path !== '/mcp') {
    const sum = await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } })
    console.log('add:', sum.content[0].text)
  }

  await transport.terminateSession()
  await client.close()
}
