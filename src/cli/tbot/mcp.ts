import { join } from 'node:path'
import { createAnswerMemory } from '../../client/mcp-memory.ts'
import { runStdioBridge } from '../../client/stdio-bridge.ts'
import { AppError } from '../../lib/errors.ts'
import { readTextIfPresent } from '../../lib/atomic-file.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import { loadBotConfig } from '../../services/bot/config.ts'
import type { BotConfig, NamedService } from '../../services/bot/config.ts'
import { createLocalEndpoint } from '../../services/bot/local-endpoint.ts'
import { TOKEN_FILE } from '../../services/bot/mcp-service.ts'
import { parseListen } from '../../services/bot/service.ts'
import type { McpConfig } from '../../services/bot/service.ts'
import type { Context } from './context.ts'

/** Standard output carries MCP messages and nothing else. */
export async function run({ call, io }: Context): Promise<number> {
  const file = call.text('config')
  if (file === undefined) throw new AppError('invalid_argument', 'name the configuration file of the running tbot with -c')
  const config = await loadBotConfig(file, io.env, { top: {}, onboarding: {} })
  const service = findMcpService(config, call.text('service'), file)
  const path = findPath(call.argument('name'), call.text('set'), call.flag('all'))
  const log = (line: string): void => void io.stderr.write(`${sanitizeTerminal(line)}\n`)
  const endpoint = createLocalEndpoint(path, parseListen(service.listen), await readToken(service))
  return await runStdioBridge({
    input: io.stdin,
    output: io.stdout,
    signal: call.signal,
    endpoint,
    autoReconnect: true,
    log,
    memory:
      config.storage.type === 'directory'
        ? createAnswerMemory({ folder: join(config.storage.path, `answers-${service.name}`), server: path, log })
        : undefined,
  })
}

function findPath(name: string | undefined, set: string | undefined, isAll: boolean): string {
  if ([name !== undefined, set !== undefined, isAll].filter(Boolean).length !== 1)
    throw new AppError('invalid_argument', 'give one of these: the NAME of an MCP server, --all, or --set NAME')
  if (name !== undefined) return renderMcpEndpoint({ type: 'app', name })
  return renderMcpEndpoint(set === undefined ? { type: 'all' } : { type: 'set', name: set })
}

function findMcpService({ services }: BotConfig, name: string | undefined, file: string): McpConfig & NamedService {
  const found = services.filter((service) => service.type === 'mcp').filter((service) => name === undefined || service.name === name)
  const [service, ...more] = found
  if (!service) throw new AppError('not_found', `${file} has no service of type mcp${name === undefined ? '' : ` named ${name}`}`)
  if (more.length > 0) throw new AppError('invalid_argument', `${file} has several services of type mcp: name one with --service`)
  return service
}

async function readToken({ listen, destination }: McpConfig): Promise<string | undefined> {
  if (listen.startsWith('unix:')) return undefined
  if (destination?.type !== 'directory')
    throw new AppError('failed_precondition', 'the token of this service is not in a directory: use its socket')
  const token = await readTextIfPresent(`${destination.path}/${TOKEN_FILE}`)
  if (token === undefined) throw new AppError('unavailable', `there is no ${destination.path}/${TOKEN_FILE}: start tbot first`)
  return token.trim()
}
