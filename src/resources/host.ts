import { z } from 'zod'
import { resourceSchema } from './envelope.ts'
import { selectorSchema } from './role.ts'

const specSchema = z.strictObject({
  hostname: z.string(),
  /** System roles of its certificate. */
  roles: z.array(z.string()),
  app_labels: selectorSchema.optional().describe('The MCP servers that it may serve, as its join token says; all where absent.'),
  db_labels: selectorSchema.optional().describe('The same of databases.'),
})

const statusSchema = z.strictObject({
  /** `local` for the services that run in the process of the Auth Service. */
  join_method: z.string(),
  join_token: z.string().optional(),
  /** Certificates that carry another one are of a join before this one. */
  join_id: z.string().optional(),
  serial: z.string().optional(),
  /** Of the certificates that were renewed, newest first: some may not have ended yet. */
  earlier_serials: z.array(z.string()).max(8).optional(),
  certificate_expires: z.string().optional(),
  joined_at: z.string(),
  last_seen: z.string(),
  version: z.string().optional(),
  /** What it runs: `app`, `db`, `proxy`, `auth`. */
  services: z.array(z.string()).default([]),
  remote_addr: z.string().optional(),
  proxy_ids: z.array(z.string()).max(64).optional().describe('Of an agent on another machine: the proxies to which it has a tunnel.'),
})

/** A machine that joined the cluster; removed, its certificate is worth nothing. */
export const hostSchema = resourceSchema('host', ['v1'], specSchema).extend({ status: statusSchema })
export type Host = z.infer<typeof hostSchema>

/** Serials of the certificates that a host may still have. */
export function serialsOf({ status }: Host): string[] {
  return [...(status.serial === undefined ? [] : [status.serial]), ...(status.earlier_serials ?? [])]
}
