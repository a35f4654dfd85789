import { z } from 'zod'
import { parsePrivateKey } from '../../ca/keys.ts'
import { ensurePrivateDirectory } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import { acquireInstanceLock } from '../../lib/single-instance.ts'
import type { Destination } from './destination.ts'

const stateSchema = z.object({
  /** Of the onboarding token that this was joined with: another one means a fresh join. */
  token_hash: z.string().optional(),
  own: z
    .object({
      identity: z.object({ privateKeyPem: z.string(), certificatePem: z.string(), authorityPems: z.array(z.string()) }),
      name: z.string(),
      clusterName: z.string(),
      expiresAt: z.number(),
      hostAuthorities: z.array(z.string()),
      userAuthorities: z.array(z.string()),
      botInstanceId: z.string().optional(),
      generation: z.number().optional(),
      joinState: z.string().optional(),
      renewable: z.boolean(),
    })
    .optional(),
  /** The key that a bot of join method bound_keypair is known by. */
  bound_key: z.string().optional(),
})

/** What the bot remembers from one start to the next. */
export type BotState = z.output<typeof stateSchema>

export interface Storage {
  load(): Promise<BotState>
  save(state: BotState): Promise<void>
  close(): Promise<void>
}

const FILE = 'bot.json'

/** State in one file of mode 0600, which changes in one step; a second tbot on the same directory is refused (`failed_precondition`). */
export async function openStorage(
  destination: Destination,
  directory: string | undefined,
  { pid, now }: { pid: number; now: () => number },
): Promise<Storage> {
  await destination.check()
  if (directory !== undefined) await ensurePrivateDirectory(directory)
  const lock = directory === undefined ? undefined : await acquireInstanceLock(directory, { pid, now })
  return {
    load: async () => parseState(await destination.read(FILE), destination.name),
    save: (state) => destination.write(new Map([[FILE, `${JSON.stringify(state)}\n`]])),
    close: async () => await lock?.release(),
  }
}

function parseState(text: string | undefined, where: string): BotState {
  if (text === undefined) return {}
  try {
    const state = stateSchema.parse(JSON.parse(text))
    for (const pem of [state.own?.identity.privateKeyPem, state.bound_key]) if (pem !== undefined) parsePrivateKey(pem)
    return state
  } catch (cause) {
    throw new AppError(
      'failed_precondition',
      `${FILE} in ${where} is damaged: remove it, and start again with a new token (tctl bots instances add)`,
      {
        cause,
      },
    )
  }
}
