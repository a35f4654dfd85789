import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { joinSourceFields, readJoinSource, type ReadSource } from '../../client/join-source.ts'
import type { Environment } from '../../lib/paths.ts'
import { JOIN_METHODS } from '../../resources/token.ts'

const absolutePath = z.string().refine(isAbsolute, 'must be an absolute path')

/** How the bot proves, the first time, that it is the one it should be. */
export const onboardingSchema = z
  .strictObject({
    token: z.string().min(1).max(4096).optional().describe('The join token, or the absolute path of a file that holds it.'),
    join_method: z.enum(JOIN_METHODS).default('token').describe('How to join.'),
    ca_pins: z
      .array(z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits, as tctl status prints it'))
      .default([])
      .describe("Pins of the cluster's certificate authority (tctl status). Needed where no system CA vouches for the proxy."),
    ca_path: absolutePath.optional().describe("A file with the cluster's certificate authority (PEM), in place of pins."),
    ...joinSourceFields,
  })
  .superRefine((onboarding, context) => {
    if (onboarding.token === undefined) context.addIssue({ code: 'custom', path: ['token'], message: 'required: tctl bots add prints one' })
    if (onboarding.join_method === 'oidc' && !onboarding.oidc)
      context.addIssue({ code: 'custom', path: ['oidc'], message: 'required for join_method oidc' })
  })

export type OnboardingConfig = z.output<typeof onboardingSchema>

/** Reads what proves the bot, now. Nothing there throws `failed_precondition` with the place. */
export async function readOnboarding(
  { join_method: method, token = '', ...sources }: OnboardingConfig,
  env: Environment,
): Promise<ReadSource> {
  return await readJoinSource({ ...sources, method, token }, env)
}
