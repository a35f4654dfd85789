import { z } from 'zod'
import { route } from './route.ts'

const days2 = 2 * 86_400
const userName = z.string().min(1).max(255)

const inviteOutput = z.object({
  user: z.string(),
  /** Path with the one-time secret, relative to the proxy's public address. */
  path: z.string(),
  /** The absolute URL when the proxy's address is known. */
  url: z.string(),
  expires: z.string(),
})

export const inviteUser = route({
  name: 'inviteUser',
  method: 'POST',
  path: '/v1/users/invite',
  access: { kind: 'user', verb: 'create' },
  summary: 'Creates a user without a password and a one-time sign-up link.',
  input: z.strictObject({
    name: userName,
    roles: z.array(z.string()).min(1),
    traits: z.record(z.string(), z.array(z.string())).optional(),
    ttl: z.int().min(60).max(days2).optional().describe('seconds the link lives, 1 h unless told'),
  }),
  output: inviteOutput,
})

export const resetUser = route({
  name: 'resetUser',
  method: 'POST',
  path: '/v1/users/reset',
  access: { kind: 'user', verb: 'update' },
  summary: 'Ends password, second factor, certificates, sessions and API tokens of a user and makes a new one-time link.',
  input: z.strictObject({ name: userName, ttl: z.int().min(60).max(86_400).optional().describe('seconds, 8 h unless told') }),
  output: inviteOutput,
})

export const showInvite = route({
  name: 'showInvite',
  method: 'POST',
  path: '/v1/signup/show',
  access: 'public',
  summary: 'Whose link this is, and a fresh TOTP secret to offer.',
  input: z.strictObject({ token: z.string().max(200) }),
  output: z.object({ user: z.string(), purpose: z.string(), totp_required: z.boolean(), totp_secret: z.string(), totp_uri: z.string() }),
})

export const acceptInvite = route({
  name: 'acceptInvite',
  method: 'POST',
  path: '/v1/signup',
  access: 'public',
  summary: 'Sets the password (and optionally TOTP) and uses the link up.',
  input: z.strictObject({
    token: z.string().max(200),
    password: z.string().min(12).max(256),
    totp_secret: z.string().max(64).optional(),
    totp: z.string().max(16).optional().describe('a current code that proves the secret is stored'),
  }),
  output: z.object({ user: z.string() }),
})
