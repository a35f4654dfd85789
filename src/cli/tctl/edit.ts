import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fetchResource, putResource } from '../../client/admin.ts'
import type { StoredResource } from '../../client/admin.ts'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import { renderYamlDocuments } from '../../lib/output.ts'
import type { Context } from './context.ts'
import { parseResources, titleOf } from './documents.ts'
import { parseNamedRef, withFirstKind } from './refs.ts'

const HEAD = '# Edit the resource and save it. What begins with # is ignored; a file without changes changes nothing.\n'

/** The revision read is the revision replaced: somebody else's change in between is refused, and the edited text kept. */
export async function run({ call, io, withApi }: Context): Promise<void> {
  const { kinds, name } = parseNamedRef(call.argument('ref') ?? '')
  await withApi(async (api) => {
    const before = await withFirstKind(api, { kinds, name }, (kind) => fetchResource(api, kind, name, { withSecrets: true }))
    const folder = await mkdtemp(join(tmpdir(), 'tctl-edit-'))
    const file = join(folder, `${before.kind}.yaml`)
    const edited = await editUntilValid({ io, file, before, signal: call.signal })
    if (!edited) {
      await rm(folder, { recursive: true, force: true })
      return void io.stdout.write('Nothing was changed.\n')
    }
    try {
      const revision = before.metadata.revision
      await putResource(api, { ...edited, metadata: { ...edited.metadata, ...(revision === undefined ? {} : { revision }) } })
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown
      throw new AppError(thrown.code, `${thrown.message}\nYour text is kept in ${file}`, { details: thrown.details ?? {}, cause: thrown })
    }
    await rm(folder, { recursive: true, force: true })
    io.stdout.write(`${titleOf(edited)} has been updated\n`)
  })
}

/** Opens the editor, again with the fault on top while the text is invalid. Undefined: nothing was changed. */
async function editUntilValid({
  io,
  file,
  before,
  signal,
}: {
  io: Context['io']
  file: string
  before: StoredResource
  signal: AbortSignal
}): Promise<StoredResource | undefined> {
  const original = renderYamlDocuments([before])
  let shown = HEAD + original
  for (let earlier: string | undefined; ;) {
    await writeFileAtomic(file, shown, { mode: 0o600 })
    await openEditor(io, file)
    const text = (await readTextIfPresent(file)) ?? ''
    if (withoutHead(text) === original) return undefined
    const outcome = judge(text, file, before)
    if ('resource' in outcome) return outcome.resource
    // The same faulty text twice, or an interruption: the person gave up, or no person is there.
    if (withoutHead(text) === earlier || signal.aborted)
      throw new AppError('invalid_argument', `${outcome.fault}\nYour text is kept in ${file}`)
    earlier = withoutHead(text)
    shown = `${outcome.fault
      .split('\n')
      .map((line) => `# ${line}\n`)
      .join('')}${earlier}`
  }
}

function judge(text: string, file: string, before: StoredResource): { resource: StoredResource } | { fault: string } {
  try {
    const [written, ...more] = parseResources(text, file)
    if (!written || more.length > 0) return { fault: 'the file must hold exactly one resource' }
    const { kind, metadata } = written.resource
    if (kind !== before.kind || metadata.name !== before.metadata.name)
      return { fault: `kind and name cannot be changed here: it was ${titleOf(before)}` }
    return { resource: written.resource }
  } catch (thrown) {
    if (thrown instanceof AppError) return { fault: thrown.message }
    throw thrown
  }
}

function withoutHead(text: string): string {
  return text.replace(/^(#[^\n]*\n)+/, '')
}

function openEditor({ env }: Context['io'], file: string): Promise<void> {
  const words = (env['SALLYPORT_EDITOR'] || env['TELEPORT_EDITOR'] || env['VISUAL'] || env['EDITOR'] || 'vi').split(/\s+/).filter(Boolean)
  const [program = 'vi', ...args] = words
  return new Promise((fulfil, reject) => {
    const child = spawn(program, [...args, file], { stdio: 'inherit', env: { ...env } })
    child.on('error', (cause) =>
      reject(new AppError('failed_precondition', `cannot start the editor ${program}: set EDITOR to one that is there`, { cause })),
    )
    child.on('exit', (code) =>
      code === 0
        ? fulfil()
        : reject(new AppError('cancelled', `the editor ended with ${code ?? 'a signal'}: nothing was changed, your text is in ${file}`)),
    )
  })
}
