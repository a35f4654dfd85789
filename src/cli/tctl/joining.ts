import { randomBytes } from 'node:crypto'
import { addResource, fetchResource, fetchStatus } from '../../client/admin.ts'
import type { ApiClient } from '../../client/call.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { botUserName } from '../../resources/bot.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Token } from '../../resources/token.ts'

/** How a bot is to join: what `tctl` prints and what stands in its JSON. */
export interface BotJoin {
  bot_name: string
  user_name: string
  role_name: string
  roles: string[]
  token_id: string
  join_method: string
  token_ttl?: string
  expires?: string
}

/** The token that a bot is to join with, which has to be made for it. Throws `invalid_argument`. */
export async function fetchBotToken(api: ApiClient, bot: string, name: string): Promise<Token> {
  const token = parseResource('token', await fetchResource(api, 'token', name, { withSecrets: true }))
  if (!token.spec.roles.includes('Bot')) throw new AppError('invalid_argument', '--token: it is not for the role Bot')
  if (token.spec.bot_name !== bot)
    throw new AppError(
      'invalid_argument',
      `--token: its bot_name is ${JSON.stringify(token.spec.bot_name ?? '')}, not ${JSON.stringify(bot)}`,
    )
  return token
}

/** A new secret, worth one join. */
export async function addBotSecret(api: ApiClient, bot: string, { now, ttl }: { now: number; ttl: string }): Promise<Token> {
  const token = parseResource('token', {
    kind: 'token',
    version: 'v2',
    metadata: { name: randomBytes(16).toString('hex'), expires: new Date(now + parseDuration(ttl)).toISOString() },
    spec: { roles: ['Bot'], join_method: 'token', bot_name: bot },
  })
  await addResource(api, token)
  return token
}

export function describeBotJoin(bot: string, roles: string[], token: Token, ttl?: string): BotJoin {
  const { expires, name } = token.metadata
  return {
    bot_name: bot,
    user_name: botUserName(bot),
    role_name: botUserName(bot),
    roles,
    token_id: name,
    join_method: token.spec.join_method,
    ...(ttl !== undefined && { token_ttl: ttl }),
    ...(expires !== undefined && { expires }),
  }
}

/** The command that starts the bot, as a person copies it. */
export async function renderBotJoin(api: ApiClient, join: BotJoin): Promise<string> {
  const { proxy_address, ca_pins } = await fetchStatus(api)
  const pins = ca_pins.map((pin) => `    --ca-pin=${pin} \\\n`).join('')
  const secret = join.join_method === 'bound_keypair' ? '\n(tctl get token/… --with-secrets shows its registration secret.)\n' : ''
  return (
    `The bot token: ${join.token_id}\n${join.expires === undefined ? '' : `This token will expire at ${join.expires}.\n`}${secret}\n` +
    `Start the bot where it is to run:\n\ntbot start identity \\\n    --destination=./${join.bot_name} \\\n    --token=${join.token_id} \\\n` +
    `    --join-method=${join.join_method} \\\n${pins}    --proxy-server=${proxy_address}\n`
  )
}
