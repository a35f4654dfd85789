import { randomBytes } from 'node:crypto'
import { addResource, fetchStatus } from '../../client/admin.ts'
import type { ClusterStatus } from '../../client/admin.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import { parseResource } from '../../resources/registry.ts'
import { JOIN_ROLES } from '../../resources/token.ts'
import type { Context } from './context.ts'
import { parsePairs } from './pairs.ts'

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const roles = call.list('type').map(parseJoinRole)
  const bot = call.text('bot')
  if (roles.includes('Bot') && bot === undefined)
    io.stderr.write('WARNING: no bot can join with this token: say which with --bot, or use tctl bots add.\n')
  const labels = parsePairs(call.list('labels'))
  const token = parseResource('token', {
    kind: 'token',
    version: 'v2',
    metadata: {
      name: call.text('value') ?? randomBytes(16).toString('hex'),
      expires: new Date(now() + parseDuration(call.text('ttl') ?? '30m')).toISOString(),
    },
    spec: {
      roles,
      join_method: 'token',
      ...(bot !== undefined && { bot_name: bot }),
      ...(Object.keys(labels).length > 0 ? { suggested_labels: labels } : {}),
    },
  })
  const status = await withApi(async (api) => {
    await addResource(api, token)
    return await fetchStatus(api)
  })
  const shown = { token: token.metadata.name, roles, expires: token.metadata.expires }
  // As with tctl of Teleport: --format=text is the token alone, for `> token`; without the flag it is what a person needs.
  const isAlone = call.text('format') === 'text'
  io.stdout.write(renderOutput(formatOf(call), shown, () => (isAlone ? `${shown.token}\n` : renderToken(shown, status))))
}

function renderToken(
  { token, roles, expires }: { token: string; roles: string[]; expires: string | undefined },
  status: ClusterStatus,
): string {
  const services = roles.filter((role) => role !== 'Bot').map((role) => role.toLowerCase())
  const pins = status.ca_pins.map((pin) => `    --ca-pin=${pin} \\\n`).join('')
  const start =
    `\nStart the agent on its host:\n\nsallyport start \\\n    --roles=${services.join(',')} \\\n    --token=${token} \\\n` +
    `${pins}    --auth-server=${status.proxy_address}\n\nIn sallyport.yaml it is join_params.token_name.`
  return `The invite token: ${token}\nThis token will expire at ${expires}.\n${services.length > 0 ? start : ''}`
}

function parseJoinRole(word: string): (typeof JOIN_ROLES)[number] {
  const role = JOIN_ROLES.find((each) => each.toLowerCase() === word.toLowerCase())
  if (!role)
    throw new AppError('invalid_argument', `"${word}" is no type of token: ${JOIN_ROLES.map((each) => each.toLowerCase()).join(', ')}`)
  return role
}
