import { fetchResource, fetchResources } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput, renderYamlDocuments } from '../../lib/output.ts'
import { renderTable, type Screen } from '../../lib/table.ts'
import type { BotInstance } from '../../resources/bot-instance.ts'
import type { Lock } from '../../resources/lock.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const [bot, id] = splitInstance(call.argument('instance') ?? '')
  const { stored, instance, locks } = await withApi(async (api) => {
    const found = await fetchResource(api, 'bot_instance', id)
    const all = (await fetchResources(api, 'lock')).map((lock) => parseResource('lock', lock))
    return { stored: found, instance: parseResource('bot_instance', found), locks: all }
  })
  if (bot !== undefined && instance.spec.bot_name !== bot) throw new AppError('not_found', `bot_instance "${bot}/${id}" not found`)
  const format = formatOf(call)
  if (format === 'yaml') return void io.stdout.write(renderYamlDocuments([stored]))
  io.stdout.write(renderOutput(format, instance, (one) => renderInstance(one, locks, io)))
}

function splitInstance(text: string): [bot: string | undefined, id: string] {
  const [first = '', second] = text.split('/')
  return second === undefined ? [undefined, first] : [first, second]
}

function renderInstance({ spec, status }: BotInstance, locks: readonly Lock[], screen: Screen): string {
  const lock = locks.find(({ spec: { target } }) => target.bot_instance_id === spec.instance_id || target.join_token === status.join_token)
  const { refused_destination: refused, latest_heartbeats: heartbeats = [] } = status
  const facts = [
    ['Bot', spec.bot_name],
    ['ID', spec.instance_id],
    ['Join method', status.join_method],
    ['Join token', status.join_token],
    ['Generation', status.renewable ? `${status.generation}` : 'n/a'],
    ['Certificate expires', status.certificate_expires],
    ...(spec.previous_instance_id === undefined ? [] : [['Instance before', spec.previous_instance_id]]),
    ...(refused ? [['Refused', `${refused.destination} (service ${refused.service}, ${refused.reported_at}): ${refused.reason}`]] : []),
    ...(lock ? [['Locked', `lock/${lock.metadata.name}${lock.spec.message === undefined ? '' : `: ${lock.spec.message}`}`]] : []),
  ]
  const lines = facts.map(([name = '', value = '']) => `${`${name}:`.padEnd(21)}${value}`).join('\n')
  const rows = status.latest_authentications.map((each) => [
    each.authenticated_at,
    each.generation === undefined ? '' : `${each.generation}`,
    each.remote_addr,
    each.hostname ?? '',
    each.serial,
  ])
  const beats = heartbeats.map((each) => [
    each.recorded_at,
    each.version,
    each.hostname,
    `${each.os}/${each.architecture}`,
    renderUptime(each.uptime_seconds),
    each.one_shot ? 'oneshot' : each.is_startup ? 'started' : '',
  ])
  const certificates = renderTable(['Certificate Of', 'Generation', 'Address', 'Hostname', 'Serial'], rows, screen)
  if (beats.length === 0) return `${lines}\n\n${certificates}`
  return `${lines}\n\n${certificates}\n${renderTable(['Heartbeat Of', 'Version', 'Hostname', 'System', 'Uptime', ''], beats, screen)}`
}

function renderUptime(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)]
  return hours > 0 ? `${hours}h${minutes}m` : `${minutes}m${seconds % 60}s`
}
