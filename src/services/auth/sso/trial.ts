import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { SsoTest } from '../../../api/sso.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { CONNECTOR_KINDS } from '../../../resources/connector.ts'
import { parseResource } from '../../../resources/registry.ts'
import { createLoginFlow, findLoginFlow, updateLoginFlow } from '../../../storage/login-flows.ts'
import type { AuthContext } from '../context.ts'
import { provenFlow } from '../limits.ts'
import { openSecret } from '../resource-secrets.ts'
import { checkConnector } from './connectors.ts'
import type { Connector } from './connector-client.ts'
import type { Identified } from './identified.ts'
import { existingRoles, noRoles } from './person.ts'

const TRIAL_MS = 10 * 60_000

const trialSchema = z.object({
  owner: z.string(),
  /** The connector with its secret. */
  sealed: z.string(),
  result: z.unknown().optional(),
})

const headSchema = z.object({ kind: z.enum(CONNECTOR_KINDS) })

/** Keeps a connector for one try, sealed; the id under which it is known. Nothing of it is saved. */
export async function beginTrial(context: AuthContext, connector: Connector, owner: string): Promise<{ id: string; expires: number }> {
  const existing = context.live.find(connector.kind, connector.metadata.name)
  checkConnector(context, connector, existing)
  const secret = connector.spec.client_secret ?? (existing && (await openSecret(context, existing, 'client_secret')))
  if (secret === undefined) throw new AppError('invalid_argument', 'spec.client_secret: required for a connector that is not saved yet')
  const id = Buffer.from(context.random(32)).toString('base64url')
  const { revision: _, ...metadata } = connector.metadata
  const tried = { ...connector, metadata, spec: { ...connector.spec, client_secret: secret } }
  const now = context.now()
  const expires = now + TRIAL_MS
  const sealed = context.sealer.seal(Buffer.from(JSON.stringify(tried)), trialKey(id))
  await createLoginFlow(context.db, { id: trialKey(id), ...provenFlow(owner), document: { owner, sealed }, expires_at: expires }, now)
  return { id, expires }
}

/** The connector that is tried out; throws `not_found`. */
export async function findTried(context: AuthContext, id: string): Promise<{ connector: Connector; secret: string | undefined }> {
  const { sealed } = await getTrial(context, id)
  const document: unknown = JSON.parse(context.sealer.open(sealed, trialKey(id)).toString())
  const kind = headSchema.parse(document).kind
  const connector = parseResource(kind, document)
  return { connector, secret: connector.spec.client_secret }
}

/** What came of it, for who began it; throws `not_found`. */
export async function findTrialResult(context: AuthContext, id: string, owner: string): Promise<SsoTest> {
  const trial = await getTrial(context, id)
  if (trial.owner !== owner) throw new AppError('not_found', 'this test is not known, or is over')
  return trial.result === undefined ? { state: 'waiting' } : resultSchema.parse(trial.result)
}

/** Keeps whom a sign-in would have been for; a sentence for the page. */
export async function finishTrial(
  context: AuthContext,
  connector: Connector,
  person: Identified,
  id: string,
  remoteAddress: string,
): Promise<string> {
  const roles = existingRoles(context, person)
  const missing_roles = person.roles.filter((role) => !roles.includes(role))
  const { user, traits } = person
  const refusal = roles.length === 0 ? noRoles(connector, person).message : undefined
  await keepResult(context, id, {
    state: refusal === undefined ? 'done' : 'failed',
    user,
    roles,
    traits,
    missing_roles,
    ...(refusal !== undefined && { error: refusal }),
  })
  const outcome = refusal === undefined ? { success: true } : { success: false, error: refusal }
  const event = { name: user, roles, remote_addr: remoteAddress, connector: connector.metadata.name, ...outcome }
  await context.journal.record([buildEvent('sso.test', event, context.build)])
  if (refusal !== undefined) return `${refusal} The terminal shows what they say. You can close this page.`
  return `You would be ${user}, with the roles ${roles.join(', ')}. Nothing was saved; the terminal shows the rest. You can close this page.`
}

export async function finishTrialBadly(context: AuthContext, id: string, { message }: AppError): Promise<void> {
  await keepResult(context, id, { state: 'failed', error: message })
}

const resultSchema: z.ZodType<SsoTest> = z.object({
  state: z.enum(['waiting', 'done', 'failed']),
  user: z.string().optional(),
  roles: z.array(z.string()).optional(),
  missing_roles: z.array(z.string()).optional(),
  traits: z.record(z.string(), z.array(z.string())).optional(),
  error: z.string().optional(),
})

async function keepResult(context: AuthContext, id: string, result: SsoTest): Promise<void> {
  const now = context.now()
  const found = trialSchema.safeParse(await findLoginFlow(context.db, trialKey(id), now))
  if (found.success) await updateLoginFlow(context.db, trialKey(id), { ...found.data, result }, now)
}

async function getTrial(context: AuthContext, id: string): Promise<z.infer<typeof trialSchema>> {
  const found = trialSchema.safeParse(await findLoginFlow(context.db, trialKey(id), context.now()))
  if (!found.success) throw new AppError('not_found', 'this test is not known, or is over: run tctl sso test again')
  return found.data
}

function trialKey(id: string): string {
  return `sso-test:${createHash('sha256').update(id).digest('hex')}`
}
