import { isAbsolute, join } from 'node:path'
import { AppError } from './errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Where state and logs of a program live: `$XDG_STATE_HOME/name`, else `~/.local/state/name` (XDG Base Directory Specification). */
export function stateDirectory(env: Environment, name: string): string {
  return join(userDirectory(env, 'XDG_STATE_HOME', ['.local', 'state']), name)
}

/** Where a program's configuration lives: `$XDG_CONFIG_HOME/name`, else `~/.config/name`, on macOS too. */
export function configDirectory(env: Environment, name: string): string {
  return join(userDirectory(env, 'XDG_CONFIG_HOME', ['.config']), name)
}

/** Where what can be had again is kept: `$XDG_CACHE_HOME/name`, else `~/.cache/name`. */
export function cacheDirectory(env: Environment, name: string): string {
  return join(userDirectory(env, 'XDG_CACHE_HOME', ['.cache']), name)
}

function userDirectory(env: Environment, variable: string, underHome: string[]): string {
  const given = env[variable]
  // The specification says to ignore relative paths.
  if (given && isAbsolute(given)) return given
  const home = env['HOME']
  if (home && isAbsolute(home)) return join(home, ...underHome)
  throw new AppError('failed_precondition', `cannot tell where files belong: neither HOME nor ${variable} is set to an absolute path`)
}
