import { z } from 'zod'
import { route } from './route.ts'

const publicKey = z.string().max(4096).describe('SPKI PEM, EC P-256 or Ed25519')
const possession = z.string().max(512).describe('signature over the request by the private key, base64url; see api/possession.ts')
const ttl = z
  .int()
  .min(60, 'must be at least 60 seconds')
  .max(30 * 86_400, 'must be at most 30 days')
  .optional()
  .describe('seconds wanted; the cluster may shorten it')
/** Names directories and resources of the host: no dots or slashes. */
const hostId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/, 'must be letters, digits and dashes, 64 at most')
const hostname = z
  .string()
  .max(255)
  .regex(/^[^\p{Cc}\p{Cf}]*$/u, 'must not contain control or invisible characters')
const version = z
  .string()
  .max(64)
  .regex(/^[\w.+-]*$/, 'must be a version')

/** What a join or a renewal yields. */
export const joinedIdentity = z.object({
  certificate: z.string(),
  user_authorities: z.array(z.string()),
  host_authorities: z.array(z.string()),
  cluster_name: z.string(),
  kind: z.enum(['host', 'bot']),
  name: z.string().describe('host id, or the user name of the bot'),
  roles: z.array(z.string()),
  expires: z.string(),
  renewable: z.boolean().describe('false: join again before it ends'),
  bot_instance_id: z.string().optional(),
  generation: z.number().optional(),
  join_state: z.string().optional().describe('bound_keypair: to be given with the next join'),
})
export type JoinedIdentity = z.infer<typeof joinedIdentity>

export const startJoin = route({
  name: 'startJoin',
  method: 'POST',
  path: '/v1/join/challenge',
  access: 'public',
  summary: 'A nonce that one join has to be signed with, within two minutes.',
  input: z.strictObject({}),
  output: z.object({ nonce: z.string() }),
})

const proof = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('token') }),
  z.strictObject({
    method: z.literal('bound_keypair'),
    public_key: publicKey,
    possession,
    registration_secret: z.string().max(256).optional(),
    join_state: z.string().max(1024).optional(),
  }),
  z.strictObject({ method: z.enum(['oidc', 'kubernetes', 'github', 'gitlab']), id_token: z.string().max(16_384) }),
])

export const join = route({
  name: 'join',
  method: 'POST',
  path: '/v1/join',
  access: 'public',
  summary: 'A join token, and what its method asks for, for the certificate of a host or a bot.',
  input: z.strictObject({
    nonce: z.string().max(200),
    role: z.enum(['App', 'Db', 'Proxy', 'Bot']),
    token: z.string().min(1).max(512).describe('name of the join token'),
    proof,
    public_key: publicKey,
    possession,
    host_id: hostId.optional().describe('hosts: what it is called already; a new one unless told'),
    hostname: hostname.optional(),
    version: version.optional(),
    ttl,
    before: z
      .strictObject({ certificate: z.string().max(16_384), possession })
      .optional()
      .describe('hosts: the certificate it had, also an expired one, and a signature by its key: proves that host_id is its own'),
  }),
  output: joinedIdentity,
})

export const renewIdentity = route({
  name: 'renewIdentity',
  method: 'POST',
  path: '/v1/join/renew',
  access: 'authenticated',
  summary: 'A host or a bot renews the certificate it calls with.',
  input: z.strictObject({ public_key: publicKey, possession, hostname: hostname.optional(), version: version.optional(), ttl }),
  output: joinedIdentity,
})

export const issueBotOutput = route({
  name: 'issueBotOutput',
  method: 'POST',
  path: '/v1/bots/outputs',
  access: 'authenticated',
  summary: "A bot's short-lived certificate with its roles, or some of them.",
  input: z.strictObject({
    public_key: publicKey,
    possession,
    roles: z.array(z.string()).min(1).max(100).optional(),
    ttl,
    allow_reissue: z.boolean(),
  }),
  output: joinedIdentity,
})

export const announceBot = route({
  name: 'announceBot',
  method: 'POST',
  path: '/v1/bots/heartbeats',
  access: 'authenticated',
  summary: 'A bot says that it is there, and what it is; with its own certificate.',
  input: z.strictObject({
    hostname,
    version,
    is_startup: z.boolean(),
    one_shot: z.boolean(),
    uptime_seconds: z.int().min(0).max(1e10),
    os: z
      .string()
      .max(32)
      .regex(/^[\w.-]*$/),
    architecture: z
      .string()
      .max(32)
      .regex(/^[\w.-]*$/),
  }),
  output: z.object({}),
})

const shownText = z
  .string()
  .max(1024)
  .regex(/^[^\p{Cc}\p{Cf}]*$/u, 'must not contain control or invisible characters')

export const reportDestination = route({
  name: 'reportDestination',
  method: 'POST',
  path: '/v1/bots/destinations/refused',
  access: 'authenticated',
  summary: 'A bot says that it refused to write to a destination which somebody else could have turned; with its own certificate.',
  input: z.strictObject({ service: shownText, destination: shownText, reason: shownText }),
  output: z.object({}),
})

export const announceHost = route({
  name: 'announceHost',
  method: 'POST',
  path: '/v1/inventory',
  access: 'authenticated',
  summary: 'A host says that it is there, and what it runs. Services only.',
  input: z.strictObject({
    hostname,
    version,
    services: z
      .array(
        z
          .string()
          .max(32)
          .regex(/^[a-z_]+$/),
      )
      .max(16),
    proxies: z.array(hostId).max(64).optional().describe('agents: ids of the proxies to which it has a tunnel'),
  }),
  output: z.object({}),
})

export const announceTunnels = route({
  name: 'announceTunnels',
  method: 'POST',
  path: '/v1/inventory/tunnels',
  access: { kind: 'proxy', verb: 'update' },
  summary: 'A proxy says which of these agents have a tunnel to it, and which have none. Proxies only, of themselves.',
  input: z.strictObject({
    agents: z
      .array(z.strictObject({ host_id: hostId, is_connected: z.boolean() }))
      .min(1)
      .max(1000),
  }),
  output: z.object({}),
})
