import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { SvidWanted } from '../../client/workload-identity.ts'
import { writeFileAtomic } from '../../lib/atomic-file.ts'
import type { Invocation } from '../../lib/command-rows.ts'
import { findDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { parseLabels } from './select-servers.ts'

/** What `--name-selector`, `--label-selector` and `--credential-ttl` say. */
export function readSvidWanted(call: Invocation): SvidWanted {
  const name = call.text('name-selector')
  const labels = call.text('label-selector')
  if ((name === undefined) === (labels === undefined))
    throw new AppError('invalid_argument', 'name the workload identity with --name-selector, or its labels with --label-selector')
  const ttl = call.text('credential-ttl') ?? '1h'
  const ms = findDuration(ttl)
  if (ms === undefined) throw new AppError('invalid_argument', `--credential-ttl: "${ttl}" is not a duration: write it like 30m or 1h`)
  const selector = name === undefined ? { labels: Object.fromEntries(parseLabels(labels)) } : { name }
  return { selector, ttlSeconds: Math.floor(ms / 1000) }
}

/** Writes files for their owner alone, each in one step, into a directory that is made when it is missing; its absolute path. */
export async function writeSvidFiles(directory: string, files: ReadonlyMap<string, string>): Promise<string> {
  const path = resolve(directory)
  await mkdir(path, { recursive: true, mode: 0o700 })
  for (const [name, content] of files) await writeFileAtomic(join(path, name), content, { mode: 0o600 })
  return path
}
