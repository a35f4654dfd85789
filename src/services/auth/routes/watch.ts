import type { ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { AppError } from '../../../lib/errors.ts'
import { isKind, kindRow } from '../../../resources/registry.ts'
import type { Kind } from '../../../resources/registry.ts'
import { authorize } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'

/** For services: their rules have no conditions, so that who may list a kind may see every resource of it. */
export async function watchResources(
  context: AuthContext,
  { kinds: text }: ParsedInputOf<typeof ROUTES.watchResources>,
  caller: KnownCaller,
): Promise<ReadableStream<Uint8Array>> {
  if (caller.identity.kind !== 'host') throw new AppError('permission_denied', 'resources are watched by services only')
  const kinds = [...new Set(text.split(','))].map(parseWatchable)
  for (const kind of kinds) {
    await authorize(context, caller, kind, 'list')
    await authorize(context, caller, kind, 'readnosecrets')
  }
  return context.watches.open(caller.identity, kinds)
}

/** A kind whose names are secrets is nobody's to watch. */
function parseWatchable(text: string): Kind {
  if (!isKind(text) || kindRow(text).secretName) throw new AppError('invalid_argument', `${text} is no kind that can be watched`)
  return text
}
