import { putOwnMeta } from '../own-meta.ts'
import type { CallerWords, UpstreamSession } from './upstream.ts'

/** The same session, whose requests say who makes them. */
export function withCallerMeta(session: UpstreamSession, { meta }: CallerWords): UpstreamSession {
  return {
    ended: session.ended,
    get externalId() {
      return session.externalId
    },
    get isWaiting() {
      return session.isWaiting === true
    },
    async send(message, signal) {
      if (message.kind !== 'request') return await session.send(message, signal)
      const members = await meta(message.caller)
      return await session.send({ ...message, bytes: putOwnMeta(message.bytes, members) }, signal)
    },
    listen: (headers, signal) => session.listen(headers, signal),
    close: () => session.close(),
  }
}
