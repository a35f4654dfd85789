import { removeResource } from '../../client/admin.ts'
import { kindRow } from '../../resources/registry.ts'
import type { Context } from './context.ts'
import { parseNamedRef, withFirstKind } from './refs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const words = call.rest('refs')
  const joined = words.length === 2 && !/[/,]/.test(words.join('')) ? [words.join('/')] : words
  const refs = joined.flatMap((word) => word.split(/(?<!\\),/)).map((word) => parseNamedRef(word.replaceAll('\\,', ',')))
  await withApi(async (api) => {
    for (const { kinds, name } of refs) {
      const kind = await withFirstKind(api, { kinds, name }, async (each) => {
        await removeResource(api, each, name)
        return each
      })
      io.stdout.write(
        kindRow(kind).singleton
          ? `${kind.replaceAll('_', ' ')} has been reset to defaults\n`
          : `${kind} ${JSON.stringify(name)} has been deleted\n`,
      )
    }
  })
}
