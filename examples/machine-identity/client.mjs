import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'

const { IDENTITY = '/opt/machine-id/identity', PROXY = 'example.teleport.sh:443', SERVER = 'my-mcp-server', PATH, HOME } = process.env

const transport = new StdioClientTransport({
  command: 'tsh',
  args: ['mcp', 'connect', '-i', IDENTITY, '--proxy', PROXY, SERVER],
  env: { PATH, HOME },
})
const client = new Client({ name: 'machine-identity-example', version: '1.0.0' })
await client.connect(transport)

const { tools } = await client.listTools()
console.log(tools.map((tool) => tool.name).join(' '))

const answer = await client.callTool({ name: 'echo', arguments: { message: 'hello from a machine' } })
console.log(answer.content[0].text)

await client.close()
