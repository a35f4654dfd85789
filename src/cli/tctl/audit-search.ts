import { listEvents } from './audit-ls.ts'
import type { Context } from './context.ts'

export const run = (context: Context): Promise<void> => listEvents(context, context.call.argument('text'))
