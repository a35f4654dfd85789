import { addResource, removeResource } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Context } from './context.ts'
import { addBotSecret, describeBotJoin, fetchBotToken, renderBotJoin } from './joining.ts'
import { parsePairs } from './pairs.ts'

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const name = call.argument('bot') ?? ''
  const roles = call.list('roles')
  const traits = Object.entries(parsePairs(call.list('traits'))).map(([trait, values]) => ({ name: trait, values }))
  const spec = { roles, traits, max_session_ttl: call.text('max-session-ttl') }
  const bot = parseResource('bot', { kind: 'bot', version: 'v1', metadata: { name }, spec })
  const [given, ttl] = [call.text('token'), call.text('ttl') ?? '1h']
  if (roles.length === 0) io.stderr.write('WARNING: a bot without roles reaches nothing: tctl bots update --add-roles gives it some.\n')
  const { join, text } = await withApi(async (api) => {
    const token = given === undefined ? undefined : await fetchBotToken(api, name, given)
    await addResource(api, bot).catch((thrown: unknown) => {
      if (!(thrown instanceof AppError) || thrown.code !== 'already_exists') throw thrown
      throw new AppError('already_exists', `bot ${JSON.stringify(name)} already exists`, {
        cause: thrown,
        details: { fix: [`tctl bots instances add ${name} lets it join at one more place, tctl bots update ${name} changes its roles`] },
      })
    })
    try {
      const joins = token ?? (await addBotSecret(api, name, { now: now(), ttl }))
      const described = describeBotJoin(name, roles, joins, token ? undefined : ttl)
      return { join: described, text: await renderBotJoin(api, described) }
    } catch (thrown) {
      await removeResource(api, 'bot', name)
      throw thrown
    }
  })
  io.stdout.write(renderOutput(formatOf(call), join, () => text))
}
