import { randomBytes } from 'node:crypto'
import { addResource } from '../../client/admin.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { renderOutput } from '../../lib/output.ts'
import { parseResource } from '../../resources/registry.ts'
import { JOIN_ROLES } from '../../resources/token.ts'
import type { Context } from './context.ts'
import { formatOf } from './format.ts'
import { parsePairs } from './pairs.ts'

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const roles = call.list('type').map(parseJoinRole)
  const labels = parsePairs(call.list('labels'))
  const token = parseResource('token', {
    kind: 'token',
    version: 'v2',
    metadata: {
      name: call.text('value') ?? randomBytes(16).toString('hex'),
      expires: new Date(now() + parseDuration(call.text('ttl') ?? '30m')).toISOString(),
    },
    spec: { roles, join_method: 'token', ...(Object.keys(labels).length > 0 ? { suggested_labels: labels } : {}) },
  })
  await withApi((api) => addResource(api, token))
  const shown = { token: token.metadata.name, roles, expires: token.metadata.expires }
  io.stdout.write(
    renderOutput(
      formatOf(call),
      shown,
      () =>
        `The invite token: ${shown.token}\nThis token will expire at ${shown.expires}.\n\nAgents join with it as join_params.token_name in sallyport.yaml.`,
    ),
  )
}

function parseJoinRole(word: string): (typeof JOIN_ROLES)[number] {
  const role = JOIN_ROLES.find((each) => each.toLowerCase() === word.toLowerCase())
  if (!role)
    throw new AppError('invalid_argument', `"${word}" is no type of token: ${JOIN_ROLES.map((each) => each.toLowerCase()).join(', ')}`)
  return role
}
