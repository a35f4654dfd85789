import { addResource, putResource } from '../../client/admin.ts'
import type { Saved } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { kindRow, parseKind } from '../../resources/registry.ts'
import type { Context } from './context.ts'
import { parseResources, readInput, titleOf } from './documents.ts'
import type { Written } from './documents.ts'

/** Documents are checked all together, then applied one by one; the first refusal stops. */
export async function run({ call, io, withApi }: Context): Promise<void> {
  const { text, fileName } = await readInput(call.argument('file'), io)
  const written = parseResources(text, fileName)
  const force = call.flag('force')
  await withApi(async (api) => {
    for (const document of written) {
      const { resource } = document
      try {
        const saved =
          force || kindRow(parseKind(resource.kind)).singleton ? await putResource(api, resource) : await addResource(api, resource)
        report(saved, io)
      } catch (thrown) {
        throw placed(thrown, document, fileName)
      }
    }
  })
}

function report(saved: Saved, io: Context['io']): void {
  io.stdout.write(`${sanitizeTerminal(titleOf(saved.resource))} has been ${saved.created ? 'created' : 'updated'}\n`)
  for (const warning of saved.warnings) io.stderr.write(`WARNING: ${sanitizeTerminal(warning)}\n`)
}

/** Says which document failed and what had been done by then. */
function placed(thrown: unknown, { resource, index, count }: Written, fileName: string): unknown {
  if (!(thrown instanceof AppError)) return thrown
  if (count === 1) return thrown
  const message = `document ${index} of ${count} in ${fileName}, ${titleOf(resource)}: ${thrown.message}\n${index - 1} applied, ${count - index + 1} not applied`
  return new AppError(thrown.code, message, { details: { ...thrown.details, applied: index - 1 }, cause: thrown })
}
