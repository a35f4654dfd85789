import { z } from 'zod'
import { announced } from './offers.ts'
import { wireResource } from './resources.ts'
import { route } from './route.ts'

const patterns = z.object({ allowed: z.array(z.string()), denied: z.array(z.string()) })

/** What `tsh db ls --format json` prints: a database with the caller's users and names beside it. */
const visibleDatabase = wireResource.and(z.looseObject({ users: patterns, names: patterns }))
export type VisibleDatabase = z.infer<typeof visibleDatabase>

export const listVisibleDatabases = route({
  name: 'listVisibleDatabases',
  method: 'GET',
  path: '/v1/databases',
  access: 'authenticated',
  summary: 'The databases that an agent offers now and the caller may reach, with the users and names that roles list for them.',
  input: z.strictObject({}),
  output: z.object({ items: z.array(visibleDatabase) }),
})

export const announceDatabases = route({
  name: 'announceDatabases',
  method: 'POST',
  path: '/v1/databases',
  access: { kind: 'db_server', verb: 'update' },
  summary:
    'An agent says that it offers these databases until they expire: creates or replaces its db_server resources, of all but those that its join token does not let it offer.',
  ...announced,
})

const publicKey = z.string().max(4096).describe('SPKI PEM, EC P-256 or Ed25519')
/** PostgreSQL cuts longer names, and another name would be meant. */
const identifier = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text) <= 63 && !/\p{Cc}/u.test(text), 'must be 1 to 63 bytes without control characters')

export const signDatabaseUser = route({
  name: 'signDatabaseUser',
  method: 'POST',
  path: '/v1/databases/certificates',
  access: { kind: 'db_certificate', verb: 'create' },
  summary:
    "A client certificate for a database user, in exchange for the caller's route assertion to that database: an agent gets none by itself.",
  input: z.strictObject({
    assertion: z.string().max(65_536),
    database: z.string().max(255),
    db_user: identifier,
    db_name: identifier,
    public_key: publicKey,
  }),
  output: z.object({ certificate: z.string(), expires: z.string() }),
})

export const signDatabaseServer = route({
  name: 'signDatabaseServer',
  method: 'POST',
  path: '/v1/databases/server-certificates',
  access: { kind: 'identity', verb: 'create' },
  summary: 'A server certificate for a database server, and the authority of the clients it is to trust (`tctl auth sign --format=db`).',
  input: z.strictObject({
    hosts: z.array(z.string().min(1).max(253)).min(1).max(50),
    public_key: publicKey,
    ttl: z
      .int()
      .min(60)
      .max(10 * 366 * 86_400)
      .describe('seconds'),
  }),
  output: z.object({
    certificate: z.string(),
    client_authorities: z.array(z.string()),
    server_authorities: z.array(z.string()),
    expires: z.string(),
  }),
})
