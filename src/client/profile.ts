import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { parseIdentityFile, renderIdentityFile } from '../ca/identity-file.ts'
import type { IdentityFile } from '../ca/identity-file.ts'
import { ensurePrivateDirectory, readTextIfPresent, writeFileAtomic } from '../lib/atomic-file.ts'
import { AppError } from '../lib/errors.ts'
import { stateDirectory } from '../lib/paths.ts'
import type { Environment } from '../lib/paths.ts'
import { parseProxyAddress, renderProxyAddress } from './proxy-address.ts'

const profileSchema = z.object({
  /** `host:port`. */
  proxy: z.string(),
  cluster: z.string(),
  user: z.string(),
  roles: z.array(z.string()),
  /** RFC 3339. */
  valid_until: z.string(),
  /** True: this person chose not to check who the proxy is. */
  insecure: z.boolean().optional(),
})

/** One sign-in at one proxy, as `tsh status` shows it. */
export type Profile = z.infer<typeof profileSchema>

/** Where `tsh` keeps its profiles: `SALLYPORT_TSH_HOME`, `TELEPORT_HOME`, else `sallyport/tsh` in the XDG state folder. */
export function tshHome(env: Environment): string {
  return env['SALLYPORT_TSH_HOME'] || env['TELEPORT_HOME'] || join(stateDirectory(env, 'sallyport'), 'tsh')
}

/** Keeps a sign-in and makes its proxy the current one. Key and certificate share one file, so that they always fit each other. */
export async function saveProfile(home: string, profile: Profile, identity: IdentityFile): Promise<void> {
  const folder = profileFolder(home, profile.proxy)
  await ensurePrivateDirectory(home)
  await ensurePrivateDirectory(folder)
  await writeFileAtomic(join(folder, 'identity.pem'), renderIdentityFile(identity), { mode: 0o600 })
  await writeFileAtomic(join(folder, 'profile.json'), `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 })
  await writeFileAtomic(join(home, 'current-profile'), `${profile.proxy}\n`, { mode: 0o600 })
}

/** The profile of `proxy`, or the current one; an expired one too. */
export async function findProfile(home: string, proxy?: string): Promise<Profile | undefined> {
  const wanted = proxy ?? (await readTextIfPresent(join(home, 'current-profile')))?.trim()
  return wanted ? await readProfile(profileFolder(home, wanted)) : undefined
}

/** Key, certificate and host CAs of a profile. */
export async function loadIdentity(home: string, profile: Profile): Promise<IdentityFile> {
  const path = join(profileFolder(home, profile.proxy), 'identity.pem')
  const text = await readTextIfPresent(path)
  if (text === undefined) throw new AppError('unauthenticated', `${path} is missing: run tsh login --proxy=${profile.proxy}`)
  return parseIdentityFile(text)
}

/** All profiles, by proxy. */
export async function listProfiles(home: string): Promise<Profile[]> {
  const entries = await readdir(home, { withFileTypes: true }).catch((thrown: unknown) => {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return []
    throw new AppError('failed_precondition', `cannot read ${home}: check its owner and mode`, { cause: thrown })
  })
  const folders = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(home, entry.name))
    .sort()
  const profiles = await Promise.all(folders.map((folder) => readProfile(folder)))
  return profiles.filter((profile) => profile !== undefined)
}

/** Forgets a sign-in with its key. Deleting what is not there changes nothing. */
export async function deleteProfile(home: string, proxy: string): Promise<void> {
  await rm(profileFolder(home, proxy), { recursive: true, force: true })
  const current = (await readTextIfPresent(join(home, 'current-profile')))?.trim()
  if (current === proxy) await rm(join(home, 'current-profile'), { force: true })
}

function profileFolder(home: string, proxy: string): string {
  return join(home, encodeURIComponent(renderProxyAddress(parseProxyAddress(proxy))).replace(/%3A(?=\d+$)/, '_'))
}

async function readProfile(folder: string): Promise<Profile | undefined> {
  const path = join(folder, 'profile.json')
  const text = await readTextIfPresent(path)
  if (text === undefined) return undefined
  try {
    return profileSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new AppError('failed_precondition', `${path} is damaged: remove the folder ${folder} and sign in again`, { cause })
  }
}
