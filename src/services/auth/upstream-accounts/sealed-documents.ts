import type { UpstreamRecord } from '../../../storage/upstream-records.ts'
import type { AuthContext } from '../context.ts'

/** What a record says, unsealed; a schema of its kind reads it. */
export function openDocument({ sealer }: Pick<AuthContext, 'sealer'>, record: UpstreamRecord): unknown {
  return JSON.parse(sealer.open(record.document, placeOf(record)).toString())
}

export function sealDocument({ sealer }: Pick<AuthContext, 'sealer'>, key: Pick<UpstreamRecord, 'kind' | 'id'>, document: object): string {
  return sealer.seal(Buffer.from(JSON.stringify(document)), placeOf(key))
}

function placeOf({ kind, id }: Pick<UpstreamRecord, 'kind' | 'id'>): string {
  return `upstream/${kind}/${id}`
}
