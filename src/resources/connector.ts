import { z } from 'zod'
import { isLoopbackHost } from '../lib/loopback.ts'
import type { User } from './user.ts'

/** Kinds of resources by which people sign in elsewhere. Their names are one namespace. */
export const CONNECTOR_KINDS = ['oidc', 'github'] as const
export type ConnectorKind = (typeof CONNECTOR_KINDS)[number]

export function isConnectorKind(kind: string): kind is ConnectorKind {
  return kind === 'oidc' || kind === 'github'
}

/** Where identity providers send browsers back to, on every address of the Proxy Service. */
export function callbackPath(kind: ConnectorKind): string {
  return `/v1/webapi/${kind}/callback`
}

/** A URL that secrets may travel to: https, or http on this machine. */
export const providerUrl = z
  .string()
  .max(1024)
  .refine(isProviderUrl, 'must be an https URL without credentials, query and fragment (http only on loopback)')

/** One URL or several, each that of the callback: nothing else is served there. */
export function redirectUrls(kind: ConnectorKind) {
  const one = z
    .string()
    .max(1024)
    .refine((text) => isProviderUrl(text) && URL.parse(text)?.pathname === callbackPath(kind), `must be https://PROXY${callbackPath(kind)}`)
  return z
    .union([one, z.array(one).min(1).max(20)])
    .optional()
    .describe(`where the browser comes back to; https://PUBLIC_ADDR${callbackPath(kind)} unless told`)
}

/** Members of the specification that both kinds have. */
export const connectorFields = {
  display: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .describe('what the button of the sign-in page says; the name of the connector unless told'),
  client_id: z.string().min(1).max(1024),
  client_secret: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe('kept sealed and never shown without --with-secrets; an update without it keeps the one there is'),
  disabled: z.boolean().optional().describe('nobody signs in by it, and who did is signed out'),
}

export const mappedRoles = z.array(z.string().min(1).max(255)).min(1).max(100)

/** By which connector a user came to be. */
export interface UserOrigin {
  type: ConnectorKind
  /** Name of the connector. */
  id: string
  /** What the identity provider calls this person for ever, unlike the name. */
  identity: string
}

const createdBySchema = z.looseObject({
  connector: z.looseObject({ type: z.enum(CONNECTOR_KINDS), id: z.string(), identity: z.string() }),
})

/** The connector that a user comes from; undefined for local users. */
export function originOfUser({ spec }: User): UserOrigin | undefined {
  const parsed = createdBySchema.safeParse(spec.created_by)
  return parsed.success ? parsed.data.connector : undefined
}

function isProviderUrl(text: string): boolean {
  const url = URL.parse(text)
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname))
  return url !== null && isSafe && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
}
