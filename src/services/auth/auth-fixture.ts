import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { possessionChallenge } from '../../api/possession.ts'
import type { PossessionPurpose } from '../../api/possession.ts'
import { generateKeyPair, renderPrivateKey, renderPublicKey, signPossession } from '../../ca/keys.ts'
import { silentLogger } from '../../lib/log.ts'
import type { Identity } from '../../resources/identity.ts'
import { authConfigSchema } from './config.ts'
import { startAuthService } from './start.ts'
import type { AuthService, AuthServiceOptions } from './start.ts'

/** 2027-01-31T12:00:00Z */
export const START = 1_801_396_800_000
export const PASSWORD = 'correct horse battery'

export interface Answer {
  status: number
  body: AnswerBody
}

/** Members of answers that tests go on working with; an answer has some of them. */
export interface AnswerBody {
  error: { code: string; message: string }
  resource: { kind: string; metadata: { name: string } }
  items: { id: string; metadata: { name: string; labels: Record<string, string> } }[]
  item: { id: string }
  warnings: string[]
  lines: string[]
  path: string
  token: string
  assertion: string
  certificate: string
  keys: unknown[]
  expires: string
  login_id: string
  totp_secret: string
  totp_uri: string
}

/** An Auth Service on a directory of its own, with a clock that stands still until it is told. */
export interface Fixture {
  auth: AuthService
  clock: { now: number }
  dataDirectory: string
  call(method: string, path: string, body?: unknown, as?: Identity | string): Promise<Answer>
  /** Everything in the audit log, oldest first. */
  events(): Promise<Record<string, unknown>[]>
  /** Creates a user with PASSWORD. */
  addUser(name: string, roles: string[], traits?: Record<string, string[]>): Promise<void>
  close(): Promise<void>
}

export async function startFixture(options: Partial<AuthServiceOptions> & { config?: never; yaml?: unknown } = {}): Promise<Fixture> {
  const { yaml, ...rest } = options
  const dataDirectory = options.dataDirectory ?? (await mkdtemp(join(tmpdir(), 'sallyport-auth-')))
  const clock = { now: START }
  const auth = await startAuthService({
    log: silentLogger,
    publicAddress: () => 'proxy.example.com:3080',
    version: '1.2.3',
    now: () => clock.now,
    expireEveryMs: 5,
    sweepEveryMs: 1000,
    ...rest,
    config: authConfigSchema.parse(yaml ?? { cluster_name: 'example' }),
    dataDirectory,
  })
  const call: Fixture['call'] = async (method, path, body, as) => {
    const carrier = auth.carrier(typeof as === 'object' ? as : undefined)
    const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' }
    if (typeof as === 'string') headers['authorization'] = `Bearer ${as}`
    const answer = await carrier({ method, path, headers, body: body === undefined ? undefined : JSON.stringify(body) })
    return { status: answer.status, body: parseBody(answer.body) }
  }
  return {
    auth,
    clock,
    dataDirectory,
    call,
    async events() {
      const { body } = await call('GET', '/v1/audit/events?limit=1000', undefined, ADMIN)
      return body.lines.map(parseEventLine)
    },
    async addUser(name, roles, traits = {}) {
      const invite = await call('POST', '/v1/users/invite', { name, roles, traits }, ADMIN)
      await call('POST', '/v1/signup', { token: tokenOf(invite), password: PASSWORD })
    },
    async close() {
      await auth.close()
      await rm(dataDirectory, { recursive: true, force: true })
    },
  }
}

function parseBody(text: string): AnswerBody {
  return JSON.parse(text) as AnswerBody // tests compare what they find with literals
}

function parseEventLine(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown> // tests compare what they find with literals
}

export const ADMIN: Identity = {
  kind: 'host',
  name: 'local-admin',
  roles: ['Admin'],
  traits: {},
  credential: 'local',
  credentialId: 'local',
  expiresAt: START * 2,
  mfaVerified: true,
}

export const AGENT: Identity = { ...ADMIN, name: 'agent-1', roles: ['App'], credential: 'certificate', credentialId: '01' }

export function userIdentity(name: string, roles: string[], more: Partial<Identity> = {}): Identity {
  return { ...ADMIN, kind: 'user', name, roles, credential: 'certificate', credentialId: '02', mfaVerified: false, ...more }
}

/** The secret of a sign-up link. */
export function tokenOf(invite: Answer): string {
  return String(invite.body.path).slice('/web/signup/'.length)
}

/** The key members of a request for a certificate. */
export async function proveKey(purpose: PossessionPurpose, user: string) {
  const pair = await generateKeyPair()
  const public_key = renderPublicKey(pair.publicKey)
  return {
    privateKeyPem: renderPrivateKey(pair.privateKey),
    proof: { public_key, possession: signPossession(pair.privateKey, possessionChallenge(purpose, user, public_key)) },
  }
}

export function role(name: string, allow: unknown, deny: unknown = {}) {
  return { kind: 'role', version: 'v8', metadata: { name }, spec: { allow, deny } }
}

export function app(name: string, labels: Record<string, string> = {}) {
  return { kind: 'app', version: 'v3', metadata: { name, labels }, spec: { uri: 'mcp+http://127.0.0.1:9999/mcp' } }
}

export function appServer(name: string, labels: Record<string, string> = {}, expires?: string) {
  const spec = { version: '1.2.3', hostname: 'h', host_id: 'agent-1', app: app(name, labels) }
  return { kind: 'app_server', version: 'v3', metadata: { name: `agent-1-${name}`, ...(expires && { expires }) }, spec }
}
