import { randomUUID } from 'node:crypto'
import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import type { Lock } from '../../../resources/lock.ts'
import { createResource } from '../../../storage/resources.ts'
import type { Executor } from '../../../storage/database.ts'
import type { AuthContext } from '../context.ts'

/** Who a lock says that it is by, when nobody's hand made it. */
const AUTHOR = 'auth-service'

/** Locks out a machine whose credential was copied, within the transaction that found it out. The lock stays until somebody removes it. */
export async function lockMachine(
  context: AuthContext,
  tx: Executor,
  target: { bot_instance_id: string } | { join_token: string },
  message: string,
): Promise<{ lock: Lock; event: AuditEvent }> {
  const lock = await createResource(
    tx,
    'lock',
    {
      kind: 'lock',
      version: 'v2',
      metadata: { name: randomUUID() },
      spec: { target, message, created_at: new Date(context.now()).toISOString(), created_by: AUTHOR },
    },
    context.now(),
  )
  const fields = { user: AUTHOR, success: true, name: lock.metadata.name, target: { ...target }, reason: message }
  return { lock, event: buildEvent('lock.created', fields, context.build) }
}
