import { z } from 'zod'
import { route } from './route.ts'

const name = z.string().max(100)
const proof = z
  .string()
  .max(256)
  .optional()
  .describe('a code of an authenticator app that is set up already, or the password where there is none: as `change_needs` says')

/** People manage their own second factors, with a certificate of their own. */
export const listMfaDevices = route({
  name: 'listMfaDevices',
  method: 'GET',
  path: '/v1/mfa/devices',
  access: 'authenticated',
  summary: "The caller's second factors, and what it takes to change them.",
  input: z.strictObject({}),
  output: z.object({
    items: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        type: z.enum(['TOTP', 'WebAuthn']),
        passwordless: z.boolean().describe('whether it signs in alone'),
        added: z.string(),
        last_used: z.string().nullable(),
      }),
    ),
    change_needs: z
      .enum(['totp', 'password', 'browser'])
      .describe('what has to be given beside a change; browser: the page alone can do it'),
    page: z.string().describe('where the browser does it'),
  }),
})
export type MfaDevices = z.infer<(typeof listMfaDevices)['output']>

export const offerMfaApp = route({
  name: 'offerMfaApp',
  method: 'POST',
  path: '/v1/mfa/apps/offer',
  access: 'authenticated',
  summary: 'A fresh TOTP secret to put into an authenticator app; nothing is kept.',
  input: z.strictObject({}),
  output: z.object({ totp_secret: z.string(), totp_uri: z.string() }),
})

export const addMfaApp = route({
  name: 'addMfaApp',
  method: 'POST',
  path: '/v1/mfa/apps',
  access: 'authenticated',
  summary: 'Keeps an authenticator app as second factor of the caller.',
  input: z.strictObject({
    name,
    totp_secret: z.string().max(64),
    totp: z.string().max(16).describe('a current code that proves the secret is stored'),
    proof,
  }),
  output: z.object({}),
})

export const removeMfaDevice = route({
  name: 'removeMfaDevice',
  method: 'POST',
  path: '/v1/mfa/devices/remove',
  access: 'authenticated',
  summary: 'Removes a second factor of the caller; not the last one where one is required.',
  input: z.strictObject({ name, proof }),
  output: z.object({}),
})
