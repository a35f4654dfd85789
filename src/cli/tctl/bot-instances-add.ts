import { fetchResource } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { parseResource } from '../../resources/registry.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'
import { addBotSecret, describeBotJoin, fetchBotToken, renderBotJoin } from './joining.ts'

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const name = call.argument('bot') ?? ''
  const [given, ttl] = [call.text('token'), call.text('ttl') ?? '1h']
  const { join, text } = await withApi(async (api) => {
    const bot = parseResource('bot', await fetchResource(api, 'bot', name))
    const token = given === undefined ? await addBotSecret(api, name, { now: now(), ttl }) : await fetchBotToken(api, name, given)
    const described = describeBotJoin(name, bot.spec.roles, token, given === undefined ? ttl : undefined)
    return { join: described, text: await renderBotJoin(api, described) }
  })
  io.stdout.write(renderOutput(formatOf(call), join, () => text))
}
