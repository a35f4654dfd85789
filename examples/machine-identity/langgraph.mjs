import { AIMessage } from '@langchain/core/messages'
import { ToolNode } from '@langchain/langgraph/prebuilt'
import { MultiServerMCPClient } from '@langchain/mcp-adapters'

const { IDENTITY = '/opt/machine-id/identity', PROXY = 'example.teleport.sh:443', SERVER = 'my-mcp-server' } = process.env

const client = new MultiServerMCPClient({
  [SERVER]: {
    transport: 'stdio',
    command: 'tsh',
    args: ['mcp', 'connect', '-i', IDENTITY, '--proxy', PROXY, SERVER],
  },
})
const tools = await client.getTools()
console.log(tools.map((tool) => tool.name).join(' '))

// The part of a graph that calls tools, and what a model would answer: createReactAgent({ llm, tools }) does both.
const wanted = { name: 'echo', args: { message: 'hello from LangGraph' }, id: 'call-1', type: 'tool_call' }
const { messages } = await new ToolNode(tools).invoke({ messages: [new AIMessage({ content: '', tool_calls: [wanted] })] })
console.log(messages[0].content)

await client.close()
