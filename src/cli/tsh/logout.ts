import { findAnswerFolder } from '../../client/credentials.ts'
import { forgetAnswers } from '../../client/mcp-memory.ts'
import { deleteProfile, listProfiles, tshHome } from '../../client/profile.ts'
import { parseProxyAddress, renderProxyAddress } from '../../client/proxy-address.ts'
import { AppError } from '../../lib/errors.ts'
import type { Context } from './context.ts'

/** Logs out of the named proxy, or of all. */
export async function run({ call, io, now }: Context): Promise<void> {
  const home = tshHome(io.env)
  const profiles = await listProfiles(home)
  const wanted = call.text('proxy')
  const address = wanted === undefined ? undefined : renderProxyAddress(parseProxyAddress(wanted))
  const leaving = profiles.filter((profile) => address === undefined || profile.proxy === address)
  if (address !== undefined && leaving.length === 0) throw new AppError('not_found', `Not logged in to ${address}.`)
  for (const { proxy } of leaving) {
    const answers = await findAnswerFolder({ proxy, env: io.env, now })
    if (answers) await forgetAnswers(answers)
    await deleteProfile(home, proxy)
  }
  io.stdout.write(
    leaving.length === 0
      ? 'All users logged out already.\n'
      : leaving.map((profile) => `Logged out ${profile.user} from ${profile.proxy}.\n`).join(''),
  )
}
