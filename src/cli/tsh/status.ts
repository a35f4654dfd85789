import { fetchCaller } from '../../client/admin.ts'
import { findProfile, listProfiles, tshHome } from '../../client/profile.ts'
import type { Profile } from '../../client/profile.ts'
import { parseProxyAddress, renderProxyAddress } from '../../client/proxy-address.ts'
import { renderDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'

interface Shown {
  profile_url: string
  username: string
  cluster: string
  roles: string[]
  valid_until: string
}

export async function run(context: Context): Promise<void> {
  const { call, io, now } = context
  const status = call.text('identity') ? { active: await statusOfIdentity(context), profiles: [] } : await statusOfHome(context)
  io.stdout.write(
    renderOutput(formatOf(call), status, ({ active, profiles }) =>
      [...(active ? [renderProfile(active, '> ', now())] : []), ...profiles.map((each) => renderProfile(each, '  ', now()))].join('\n\n'),
    ),
  )
}

async function statusOfHome({ call, io }: Context): Promise<{ active: Shown | null; profiles: Shown[] }> {
  const home = tshHome(io.env)
  const all = await listProfiles(home)
  const proxy = call.text('proxy')
  const active = await findProfile(home, proxy === undefined ? undefined : renderProxyAddress(parseProxyAddress(proxy)))
  if (!active && (all.length === 0 || proxy !== undefined))
    throw new AppError('unauthenticated', 'Not logged in.', { details: { fix: [`tsh login --proxy=${proxy ?? 'HOST:PORT'}`] } })
  return { active: active ? show(active) : null, profiles: all.filter((profile) => profile.proxy !== active?.proxy).map(show) }
}

async function statusOfIdentity(context: Context): Promise<Shown> {
  return await withConnection(context, async ({ api, proxy }) => {
    const caller = await fetchCaller(api)
    const url = proxy ? `https://${renderProxyAddress(proxy)}` : ''
    return { profile_url: url, username: caller.name, cluster: caller.cluster_name, roles: caller.roles, valid_until: caller.expires }
  })
}

function show(profile: Profile): Shown {
  return {
    profile_url: `https://${profile.proxy}`,
    username: profile.user,
    cluster: profile.cluster,
    roles: profile.roles,
    valid_until: profile.valid_until,
  }
}

function renderProfile(shown: Shown, mark: string, now: number): string {
  const end = Date.parse(shown.valid_until)
  const left = end > now ? `[valid for ${renderDuration(end - now)}]` : '[EXPIRED]'
  const rows = [
    ['Profile URL', shown.profile_url],
    ['Logged in as', shown.username],
    ['Cluster', shown.cluster],
    ['Roles', shown.roles.join(', ')],
    ['Valid until', `${new Date(end).toISOString().replace('T', ' ').slice(0, 19)} +0000 UTC ${left}`],
  ]
  return rows.map(([name, value], index) => `${index === 0 ? mark : '  '}${`${name}:`.padEnd(20)}${value}`).join('\n')
}
