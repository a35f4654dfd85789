import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { readTextIfPresent } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Environment } from '../../lib/paths.ts'

const JOIN_METHODS = ['token', 'bound_keypair', 'oidc', 'kubernetes', 'github', 'gitlab'] as const

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
    bound_keypair: z
      .strictObject({
        registration_secret: z.string().min(1).optional().describe('The secret that registers the key at the first join.'),
        registration_secret_path: absolutePath.optional().describe('A file that holds it.'),
      })
      .optional()
      .describe('For join_method bound_keypair.'),
    gitlab: z
      .strictObject({ token_env_var_name: z.string().min(1) })
      .optional()
      .describe('For join_method gitlab: the variable that holds the ID token.'),
    kubernetes: z.strictObject({ token_path: absolutePath }).optional().describe('For join_method kubernetes: the service account token.'),
    oidc: z
      .strictObject({ token_path: absolutePath.optional(), token_env_var_name: z.string().min(1).optional() })
      .refine(({ token_path, token_env_var_name }) => (token_path === undefined) !== (token_env_var_name === undefined), {
        error: 'names either token_path or token_env_var_name',
      })
      .optional()
      .describe('For join_method oidc: where the ID token is.'),
  })
  .superRefine((onboarding, context) => {
    if (onboarding.token === undefined) context.addIssue({ code: 'custom', path: ['token'], message: 'required: tctl bots add prints one' })
    if (onboarding.join_method === 'oidc' && !onboarding.oidc)
      context.addIssue({ code: 'custom', path: ['oidc'], message: 'required for join_method oidc' })
  })

export type OnboardingConfig = z.output<typeof onboardingSchema>

/** The proof that is ready to be sent. */
export interface Onboarding {
  method: (typeof JOIN_METHODS)[number]
  /** The token itself; with methods that prove the bot otherwise, its name. */
  token: string
  idToken?: string | undefined
  registrationSecret?: string | undefined
}

const KUBERNETES_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
const GITLAB_VARIABLE = 'TBOT_GITLAB_JWT'
const MAX_TOKEN_BYTES = 64 * 1024

/** Reads what proves the bot, now: files and variables may have changed. Nothing there throws `failed_precondition` with the place. */
export async function readOnboarding(config: OnboardingConfig, env: Environment): Promise<Onboarding> {
  const { join_method: method, bound_keypair: keypair } = config
  const token = await valueOrFile(config.token ?? '')
  if (method === 'token') return { method, token }
  if (method === 'bound_keypair') {
    const path = keypair?.registration_secret_path
    const secret = path === undefined ? keypair?.registration_secret : await readSecret(path)
    return { method, token, registrationSecret: secret }
  }
  return { method, token, idToken: await readIdToken(config, env) }
}

async function readIdToken({ join_method: method, oidc, gitlab, kubernetes }: OnboardingConfig, env: Environment): Promise<string> {
  if (method === 'kubernetes') return await readSecret(kubernetes?.token_path ?? KUBERNETES_TOKEN)
  if (oidc?.token_path !== undefined && method === 'oidc') return await readSecret(oidc.token_path)
  if (method === 'github') return readVariable(env, oidc?.token_env_var_name ?? 'TBOT_GITHUB_JWT')
  return readVariable(env, (method === 'gitlab' ? gitlab?.token_env_var_name : oidc?.token_env_var_name) ?? GITLAB_VARIABLE)
}

function readVariable(env: Environment, name: string): string {
  const value = env[name]?.trim()
  if (!value) throw new AppError('failed_precondition', `the variable ${name} holds no ID token`)
  return value
}

async function valueOrFile(text: string): Promise<string> {
  return isAbsolute(text) ? await readSecret(text) : text
}

async function readSecret(path: string): Promise<string> {
  const text = (await readTextIfPresent(path, { maxBytes: MAX_TOKEN_BYTES }))?.trim()
  if (!text)
    throw new AppError('failed_precondition', `the file ${path} is ${text === undefined ? 'missing' : 'empty'}: it is to hold a token`)
  return text
}
