import type { BotService } from './bot-service.ts'
import type { OwnIdentity } from './cluster.ts'
import type { Destination } from './destination.ts'

/** New files of a destination, and when what is in them ends, in milliseconds since 1970. */
export interface Renewed {
  files: ReadonlyMap<string, string>
  expiresAt: number
}

/** Keeps the files of a destination fresh. Nothing is asked for before the destination is known to be fit for it. */
export function createFileService(
  { name, intervalMs }: { name: string; intervalMs: number },
  destination: Destination,
  renew: (own: OwnIdentity) => Promise<Renewed>,
): BotService {
  return {
    name,
    intervalMs,
    destination: destination.name,
    check: () => destination.check(),
    async renew(own) {
      await destination.check()
      const { files, expiresAt } = await renew(own)
      await destination.write(files)
      return { expiresAt }
    },
  }
}
