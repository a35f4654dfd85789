import { setTimeout as sleep } from 'node:timers/promises'
import {
  acceptedContent,
  type CallToolResult,
  type ContentBlock,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  inputResponse,
  type InputRequiredResult,
  type InputRequests,
  McpServer,
  ResourceTemplate,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { memorySkillFiles, SkillsExtension } from '@modelcontextprotocol/server/ext/skills'
import { z } from 'zod'
import { ASKED_DEFAULTS, ASKED_ENUMS, HEADER_SCHEMA, JSON_SCHEMA, PIXEL, SOUND } from './samples.ts'

export interface Announcements {
  toolsChanged(): void
  promptsChanged(): void
}

/** A server with the tools, prompts and resources that the official conformance suite calls by name. */
export function createFixtures(announce: Announcements): McpServer {
  const codec = createRequestStateCodec<Round>({ key: 'a key that is good enough for one process of tests' })
  const server = new McpServer(
    { name: 'conformance', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: codec.verify },
    },
  )
  addContentTools(server)
  addSpeakingTools(server, announce)
  addAskingTools(server)
  addInputTools(server, codec)
  addPrompts(server)
  addResources(server)
  SKILLS.attach(server)
  return server
}

const SKILLS = await SkillsExtension.load(
  memorySkillFiles({
    'code-review/SKILL.md': '---\nname: code-review\ndescription: How to review code\n---\n\nRead it.\n',
    'code-review/references/checklist.md': '# Checklist\n',
    'release/SKILL.md': '---\nname: release\ndescription: How to release\n---\n\nTag it.\n',
  }),
)

const text = (value: string): ContentBlock => ({ type: 'text', text: value })
const result = (...content: ContentBlock[]): CallToolResult => ({ content })

const EMBEDDED: ContentBlock = {
  type: 'resource',
  resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' },
}
const MIXED: ContentBlock = {
  type: 'resource',
  resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json', text: '{"test":"data","value":123}' },
}
const IMAGE: ContentBlock = { type: 'image', data: PIXEL, mimeType: 'image/png' }

function addContentTools(server: McpServer): void {
  const add = (name: string, description: string, ...content: ContentBlock[]): void =>
    void server.registerTool(name, { description }, () => result(...content))
  add('test_simple_text', 'A text', text('This is a simple text response for testing.'))
  add('test_image_content', 'An image', IMAGE)
  add('test_audio_content', 'A sound', { type: 'audio', data: SOUND, mimeType: 'audio/wav' })
  add('test_embedded_resource', 'A resource', EMBEDDED)
  add('test_multiple_content_types', 'One of each', text('Multiple content types test:'), IMAGE, MIXED)
  server.registerTool('test_error_handling', { description: 'Fails' }, () => {
    throw new Error('This tool intentionally returns an error for testing')
  })
  const described = { description: 'Tool with JSON Schema 2020-12 features', inputSchema: fromJsonSchema(JSON_SCHEMA) }
  server.registerTool('json_schema_2020_12_tool', described, () => result(text('taken')))
  const mirrored = { description: 'An argument that a header repeats', inputSchema: fromJsonSchema(HEADER_SCHEMA) }
  server.registerTool('test_mirrored_argument', mirrored, () => result(text('taken')))
}

/** Tools that say something before, or instead of, their result. */
function addSpeakingTools(server: McpServer, announce: Announcements): void {
  server.registerTool('test_tool_with_logging', { description: 'Logs three times' }, async ({ mcpReq }) => {
    await mcpReq.log('info', 'Tool execution started')
    await sleep(50)
    await mcpReq.log('info', 'Tool processing data')
    await sleep(50)
    await mcpReq.log('info', 'Tool execution completed')
    return result(text('logged'))
  })
  server.registerTool('test_tool_with_progress', { description: 'Reports progress three times' }, async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined)
        await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } })
      await sleep(50)
    }
    return result(text('done'))
  })
  server.registerTool('test_logging_tool', { description: 'Logs once' }, async ({ mcpReq }) => {
    await mcpReq.log('info', 'said while working')
    return result(text('logged'))
  })
  server.registerTool('test_reconnection', { description: 'Ends its stream before it has a result' }, async ({ http }) => {
    await sleep(50)
    http?.closeSSE?.()
    await sleep(100)
    return result(text('resumed'))
  })
  server.registerTool('test_trigger_tool_change', { description: 'Says that the tools changed' }, () => {
    announce.toolsChanged()
    return result(text('announced'))
  })
  server.registerTool('test_trigger_prompt_change', { description: 'Says that the prompts changed' }, () => {
    announce.promptsChanged()
    return result(text('announced'))
  })
}

/** Tools that ask the client in the middle of a call: by requests of the server, which the legacy revisions have. */
function addAskingTools(server: McpServer): void {
  const message = z.object({ message: z.string() })
  server.registerTool(
    'test_sampling',
    { description: 'Asks the model', inputSchema: z.object({ prompt: z.string() }) },
    async ({ prompt }, { mcpReq }) => {
      const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: prompt } }]
      const answer = await mcpReq.requestSampling({ messages, maxTokens: 100 }, onStreamOf(mcpReq))
      return result(text(`LLM response: ${JSON.stringify(answer.content)}`))
    },
  )
  const username = { type: 'string' as const, description: "User's response" }
  const email = { type: 'string' as const, description: "User's email address" }
  const user = { type: 'object' as const, properties: { username, email }, required: ['username', 'email'] }
  server.registerTool('test_elicitation', { description: 'Asks the user', inputSchema: message }, async (args, { mcpReq }) => {
    const { action, content } = await mcpReq.elicitInput({ message: args.message, requestedSchema: user }, onStreamOf(mcpReq))
    return result(text(`User response: action=${action}, content=${JSON.stringify(content ?? {})}`))
  })
  const forms = { test_elicitation_sep1034_defaults: ASKED_DEFAULTS, test_elicitation_sep1330_enums: ASKED_ENUMS }
  for (const [name, requestedSchema] of Object.entries(forms)) {
    server.registerTool(name, { description: 'Asks the user by a form' }, async ({ mcpReq }) => {
      const { action, content } = await mcpReq.elicitInput({ message: 'Please fill in', requestedSchema }, onStreamOf(mcpReq))
      return result(text(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`))
    })
  }
  server.registerTool('test_missing_capability', { description: 'Needs sampling' }, ({ mcpReq }) => {
    return mcpReq.inputResponses ? result(text('sampled')) : inputRequired({ inputRequests: GREETING })
  })
}

type Asked = ServerContext['mcpReq']

/**
 * Has the question go out on the stream that answers the call. Of itself the SDK takes the stream of GET, and drops what it asks when a client
 * calls before that stream is open: the call then waits for ever.
 */
function onStreamOf({ id }: Asked): { relatedRequestId: Asked['id'] } {
  return { relatedRequestId: id }
}

function declared(request: Asked, capability: 'sampling' | 'elicitation' | 'roots'): boolean {
  const capabilities: unknown = Reflect.get(request.envelope ?? {}, 'io.modelcontextprotocol/clientCapabilities')
  return typeof capabilities === 'object' && capabilities !== null && capability in capabilities
}

interface Round {
  round: number
}

const form = (message: string, property: string) =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties: { [property]: { type: 'string' } }, required: [property] },
  })
const sample = (question: string, maxTokens: number) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: question } }], maxTokens })

const NAME = { user_name: form('What is your name?', 'name') }
const GREETING = { greeting: sample('Generate a greeting', 50) }
const ROOTS = { client_roots: inputRequired.listRoots() }

/** What a request that was answered in full is answered with; `undefined` when an answer is missing. */
function answersOf(request: Asked, asked: InputRequests): string | undefined {
  const answers = Object.keys(asked).map((key) => inputResponse(request.inputResponses, key))
  if (answers.some((answer) => answer.kind === 'missing' || (answer.kind === 'elicit' && !answer.content))) return undefined
  return JSON.stringify(answers)
}

/** Tools that ask the client by their result, as revision 2026-07-28 has it. */
function addInputTools(server: McpServer, codec: { mint(state: Round): Promise<string> }): void {
  type Answer = CallToolResult | InputRequiredResult
  const add = (name: string, run: (request: Asked) => Promise<Answer>): void =>
    void server.registerTool(`test_input_required_result_${name}`, { description: 'Asks by its result' }, ({ mcpReq }) => run(mcpReq))
  const simple = (name: string, inputRequests: InputRequests): void =>
    add(name, async (request) => {
      const answers = answersOf(request, inputRequests)
      return answers === undefined ? inputRequired({ inputRequests }) : result(text(answers))
    })
  const stateful = (name: string, inputRequests: InputRequests, reply: string): void =>
    add(name, async (request) => {
      const isBack = request.requestState<Round>()?.round === 1
      if (!isBack || answersOf(request, inputRequests) === undefined)
        return inputRequired({ inputRequests, requestState: await codec.mint({ round: 1 }) })
      return result(text(reply))
    })

  add('elicitation', async ({ inputResponses }) => {
    const content = acceptedContent(inputResponses, 'user_name', z.object({ name: z.string() }))
    return content ? result(text(`Hello, ${content.name}!`)) : inputRequired({ inputRequests: NAME })
  })
  simple('sampling', { capital_question: sample('What is the capital of France?', 100) })
  simple('list_roots', ROOTS)
  const requestedSchema = { type: 'object' as const, properties: { ok: { type: 'boolean' as const } }, required: ['ok'] }
  const confirm = { confirm: inputRequired.elicit({ message: 'Please confirm', requestedSchema }) }
  stateful('request_state', confirm, 'state-ok')
  stateful('tampered_state', confirm, 'state-ok')
  stateful('multiple_inputs', { ...NAME, ...GREETING, ...ROOTS }, 'all there')
  add('multi_round', async (request) => {
    const round = request.requestState<Round>()?.round ?? 0
    const steps: InputRequests[] = [
      { step1: form('Step 1: What is your name?', 'name') },
      { step2: form('Step 2: What is your favorite color?', 'color') },
    ]
    const before = steps[round - 1]
    const reached = before && answersOf(request, before) === undefined ? round - 1 : round
    const inputRequests = steps[reached]
    return inputRequests
      ? inputRequired({ inputRequests, requestState: await codec.mint({ round: reached + 1 }) })
      : result(text('both steps taken'))
  })
  add('capabilities', async (request) => {
    const inputRequests = {
      ...(declared(request, 'elicitation') && NAME),
      ...(declared(request, 'sampling') && GREETING),
      ...(declared(request, 'roots') && ROOTS),
    }
    return inputRequired({ inputRequests })
  })
  server.registerTool('test_streaming_elicitation', { description: 'Reports, then asks by its result' }, async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken
    if (progressToken !== undefined) await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1 } })
    return inputRequired({ inputRequests: NAME })
  })
}

function addPrompts(server: McpServer): void {
  const says = (value: string) => ({ role: 'user' as const, content: { type: 'text' as const, text: value } })
  server.registerPrompt('test_simple_prompt', { description: 'A text' }, () => ({
    messages: [says('This is a simple prompt for testing.')],
  }))
  const argsSchema = z.object({ arg1: z.string(), arg2: z.string() })
  server.registerPrompt('test_prompt_with_arguments', { description: 'Two arguments', argsSchema }, ({ arg1, arg2 }) => ({
    messages: [says(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  }))
  const uriSchema = z.object({ resourceUri: z.string() })
  server.registerPrompt('test_prompt_with_embedded_resource', { description: 'A resource', argsSchema: uriSchema }, ({ resourceUri }) => ({
    messages: [
      {
        role: 'user',
        content: {
          type: 'resource',
          resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
        },
      },
      says('Please process the embedded resource above.'),
    ],
  }))
  server.registerPrompt('test_prompt_with_image', { description: 'An image' }, () => ({
    messages: [{ role: 'user', content: { type: 'image', data: PIXEL, mimeType: 'image/png' } }, says('Please analyze the image above.')],
  }))
  const inputRequests = { user_context: form('What context should the prompt use?', 'context') }
  server.registerPrompt('test_input_required_result_prompt', { description: 'Asks by its result' }, ({ mcpReq }) => {
    const answers = answersOf(mcpReq, inputRequests)
    return answers === undefined ? inputRequired({ inputRequests }) : { messages: [says(answers)] }
  })
  server.server.setRequestHandler('completion/complete', ({ params }) => ({
    completion: { values: ['paris', 'park', 'party'].filter((word) => word.startsWith(params.argument.value)), hasMore: false },
  }))
}

function addResources(server: McpServer): void {
  const add = (name: string, mimeType: string, content: { text: string } | { blob: string }): void => {
    const uri = `test://${name}`
    server.registerResource(name, uri, { description: name, mimeType }, () => ({ contents: [{ uri, mimeType, ...content }] }))
  }
  add('static-text', 'text/plain', { text: 'This is the content of the static text resource.' })
  add('static-binary', 'image/png', { blob: PIXEL })
  add('watched-resource', 'text/plain', { text: 'Watched resource content' })
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined })
  server.registerResource('template', template, { description: 'By id', mimeType: 'application/json' }, ({ href }, { id }) => ({
    contents: [
      { uri: href, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }) },
    ],
  }))
  server.server.setRequestHandler('resources/subscribe', () => ({}))
  server.server.setRequestHandler('resources/unsubscribe', () => ({}))
}
