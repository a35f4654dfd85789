import type { KeyObject } from 'node:crypto'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { readTextIfPresent } from '../lib/atomic-file.ts'
import { AppError } from '../lib/errors.ts'
import type { Environment } from '../lib/paths.ts'
import type { JoinMethod } from '../resources/token.ts'
import type { JoinProof } from './join.ts'

const absolutePath = z.string().refine(isAbsolute, 'must be an absolute path')

/** Where a machine that joins by a method has what proves it: the same members for bots and for agents. */
export const joinSourceFields = {
  bound_keypair: z
    .strictObject({
      registration_secret: z.string().min(1).optional().describe('The secret that registers the key at the first join.'),
      registration_secret_path: absolutePath.optional().describe('A file that holds it.'),
    })
    .optional()
    .describe('For the method bound_keypair.'),
  gitlab: z
    .strictObject({ token_env_var_name: z.string().min(1) })
    .optional()
    .describe('For the method gitlab: the variable that holds the ID token.'),
  kubernetes: z.strictObject({ token_path: absolutePath }).optional().describe('For the method kubernetes: the service account token.'),
  oidc: z
    .strictObject({ token_path: absolutePath.optional(), token_env_var_name: z.string().min(1).optional() })
    .refine(({ token_path, token_env_var_name }) => (token_path === undefined) !== (token_env_var_name === undefined), {
      error: 'names either token_path or token_env_var_name',
    })
    .optional()
    .describe('For the method oidc: where the ID token is.'),
}

const fieldsSchema = z.object(joinSourceFields)

export type JoinSource = z.output<typeof fieldsSchema> & {
  method: JoinMethod
  /** The join token, or the absolute path of a file with it; of methods that prove the machine otherwise, its name. */
  token: string
}

/** What was read, ready to be sent with a key where the method wants one. */
export interface ReadSource {
  method: JoinMethod
  /** The token itself; with methods that prove the machine otherwise, its name. */
  token: string
  idToken?: string | undefined
  registrationSecret?: string | undefined
}

const KUBERNETES_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
const GITLAB_VARIABLE = 'TBOT_GITLAB_JWT'
const GITHUB_VARIABLE = 'TBOT_GITHUB_JWT'
const MAX_TOKEN_BYTES = 64 * 1024

/** Reads what proves the machine, now: files and variables may have changed. Nothing there throws `failed_precondition` with the place. */
export async function readJoinSource(source: JoinSource, env: Environment): Promise<ReadSource> {
  const { method, bound_keypair: keypair } = source
  const token = isAbsolute(source.token) ? await readSecret(source.token) : source.token
  if (method === 'token') return { method, token }
  if (method === 'bound_keypair') {
    const path = keypair?.registration_secret_path
    const secret = path === undefined ? keypair?.registration_secret : await readSecret(path)
    return { method, token, registrationSecret: secret }
  }
  return { method, token, idToken: await readIdToken(source, env) }
}

/** @param boundKey the key that the method bound_keypair knows the machine by, with the state of its last join. */
export function proofOf(
  { method, token, idToken = '', registrationSecret }: ReadSource,
  boundKey: { privateKey: KeyObject; joinState: string | undefined } | undefined,
): JoinProof {
  if (method === 'token') return { method, token }
  if (method !== 'bound_keypair') return { method, token, idToken }
  if (!boundKey) throw new AppError('internal', 'a bound key pair joins with its key')
  const { privateKey, joinState } = boundKey
  return {
    method,
    token,
    privateKey,
    ...(joinState !== undefined && { joinState }),
    ...(registrationSecret !== undefined && { registrationSecret }),
  }
}

async function readIdToken({ method, oidc, gitlab, kubernetes }: JoinSource, env: Environment): Promise<string> {
  if (method === 'kubernetes') return await readSecret(kubernetes?.token_path ?? KUBERNETES_TOKEN)
  if (oidc?.token_path !== undefined && method === 'oidc') return await readSecret(oidc.token_path)
  if (method === 'github') return readVariable(env, oidc?.token_env_var_name ?? GITHUB_VARIABLE)
  return readVariable(env, (method === 'gitlab' ? gitlab?.token_env_var_name : oidc?.token_env_var_name) ?? GITLAB_VARIABLE)
}

function readVariable(env: Environment, name: string): string {
  const value = env[name]?.trim()
  if (!value) throw new AppError('failed_precondition', `the variable ${name} holds no ID token`)
  return value
}

async function readSecret(path: string): Promise<string> {
  const text = (await readTextIfPresent(path, { maxBytes: MAX_TOKEN_BYTES }))?.trim()
  if (!text)
    throw new AppError('failed_precondition', `the file ${path} is ${text === undefined ? 'missing' : 'empty'}: it is to hold a token`)
  return text
}
