import type { Fields } from '../message.ts'
import { withItems } from './tools.ts'

/** What is known of a client that calls itself by one of these names. Nothing here widens what it may do: anybody may say any name. */
export interface ClientRow {
  /** `clientInfo.name`, lower case. */
  names: RegExp
  /** How many tools of all its servers together it gives to the model. */
  toolLimit?: number
  /** Refuses schemas that others take. */
  needsItems?: boolean
  /** Does not read a list again when it is told of a change: what a person has to do instead. */
  reconnect?: string
  /** Where this is written: issues that exist; "reported" where people say so and nobody has tried it. */
  source: string
}

/** The first row that fits counts. What is done for all clients alike has no row: see the tests. */
const CLIENTS: readonly ClientRow[] = [
  {
    names: /^claude[ -]code/,
    reconnect: 'type /mcp and reconnect',
    source: 'reported: anthropics/claude-code#4118, #13646, #50515, #62058, #77314, #79826',
  },
  {
    names: /^visual[ -]studio[ -]code/,
    toolLimit: 128,
    source: 'reported: 128 in a request, microsoft/vscode#255585, microsoft/vscode-copilot-release#9375, #9894, #11653, #13065',
  },
  {
    names: /^(?:jetbrains|intellij|pycharm|webstorm|goland)/,
    toolLimit: 128,
    source: 'reported: microsoft/copilot-intellij-feedback#1842',
  },
  {
    names: /^cursor/,
    toolLimit: 40,
    source: 'reported: the first 40 are sent, anyproto/anytype-mcp#5; later releases warn, of 80 in Snowflake-Labs/mcp#77',
  },
  {
    names: /^windsurf/,
    toolLimit: 100,
    source: 'docs.windsurf.com, Cascade: 100 in all; reported when it was 50: Zhwt/go-mcp-mysql#3',
  },
  {
    names: /^antigravity/,
    toolLimit: 50,
    needsItems: true,
    source: 'reported: 50 in all, enuno/unifi-mcp-server#69 (100 in homeassistant-ai/ha-mcp#420); items, pixelsock/directus-mcp#12',
  },
  {
    names: /^gemini-cli/,
    needsItems: true,
    source: 'reported: an array without items fails every request, Skyvern-AI/skyvern#8611, backstage/backstage#34038',
  },
]

function findClient(name: string | undefined): ClientRow | undefined {
  const lower = name?.toLowerCase()
  return lower === undefined ? undefined : CLIENTS.find(({ names }) => names.test(lower))
}

/** What a person has to do in this client to see a change of the lists; undefined when it sees to that itself, as far as is known. */
export function findReconnect(name: string | undefined): string | undefined {
  return findClient(name)?.reconnect
}

/** Whether the catalogue is to be searched rather than listed. */
export function isTooMany(name: string | undefined, tools: number): boolean {
  return tools > (findClient(name)?.toolLimit ?? Number.POSITIVE_INFINITY)
}

/** The tool in the form that this client can read. */
export function fitTool(name: string | undefined, tool: Fields): Fields {
  if (findClient(name)?.needsItems !== true) return tool
  return { ...tool, inputSchema: withItems(tool['inputSchema']) }
}
