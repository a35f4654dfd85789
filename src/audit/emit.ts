import { buildEvent } from './build-event.ts'
import type { BuildOptions, FieldsOf } from './build-event.ts'
import type { AuditEvent } from './event.ts'
import type { EventType } from './events.ts'

/** Resolves when the event is kept for good; rejects when it could not be, so that the caller can refuse what it was about to do. */
export type Emit = <T extends EventType>(type: T, fields: FieldsOf<T>) => Promise<void>

/** The one way to tell that something happened. `store` keeps events: the spool of a service, or the store itself. */
export function createEmitter(options: BuildOptions & { store: (events: AuditEvent[]) => Promise<unknown> | void }): Emit {
  return async (type, fields) => {
    await options.store([buildEvent(type, fields, options)])
  }
}
