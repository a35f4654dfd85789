import type { ROUTES } from '../../../api/routes.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { WireResource } from '../../../api/resources.ts'
import { AppError } from '../../../lib/errors.ts'
import { kindRow, parseKind, parseResource } from '../../../resources/registry.ts'
import type { Kind } from '../../../resources/registry.ts'
import type { Executor } from '../../../storage/database.ts'
import { hasSecretName } from '../../../resources/token.ts'
import {
  createResource as insertResource,
  deleteResource as removeResource,
  upsertResource as replaceResource,
} from '../../../storage/resources.ts'
import { deleteUpstreamRecordsOfApp } from '../../../storage/upstream-records.ts'
import { endCredentialsOf, renewAccount, revokeEnded } from '../accounts.ts'
import { authorize, listPermitted } from '../authorize.ts'
import { revoke } from '../changes.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { foreignCredentialId } from '../foreign-tokens.ts'
import { safeTokenName, withoutSecrets } from '../join/join-tokens.ts'
import { endMachinesOf } from '../join/end-machines.ts'
import { limitHosts } from '../join/host-limits.ts'
import { defaultAuthPreference } from '../presets.ts'
import { checkDeletable, findWarnings, prepareResource, resourceEvent } from '../resource-rules.ts'
import type { AnyResource } from '../resource-rules.ts'
import { authorizeSecrets, dropValue, sealValue, withoutValue } from '../secrets.ts'
import { deleteSecrets, storeSecrets, withSecretFields } from '../resource-secrets.ts'
import { endUsersOf, endUsersOfChange } from '../sso/connector-users.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>
type Saved = OutputOf<typeof ROUTES.createResource>

export async function listResources(
  context: AuthContext,
  input: Input<'listResources'>,
  caller: KnownCaller,
): Promise<{ items: WireResource[] }> {
  const kind = parseKind(input.kind)
  const items = await listPermitted(context, caller, kind)
  const { secretName, secretFields } = kindRow(kind)
  const withSecrets = input.with_secrets === true
  if (withSecrets && (secretName || secretFields)) for (const item of items) await authorize(context, caller, kind, 'read', item)
  return { items: await Promise.all(items.map((item) => toWire(context, item, withSecrets))) }
}

export async function getResource(context: AuthContext, input: Input<'getResource'>, caller: KnownCaller): Promise<WireResource> {
  const kind = parseKind(input.kind)
  const resource = context.live.find(kind, fullName(context, kind, input.name))
  await authorize(context, caller, kind, input.with_secrets ? 'read' : 'readnosecrets', resource)
  if (!resource) throw notFound(kind, input.name)
  return await toWire(context, resource, input.with_secrets === true)
}

export async function createResource(context: AuthContext, input: Input<'createResource'>, caller: KnownCaller): Promise<Saved> {
  const kind = parseKind(input.kind)
  const resource = parseResource(kind, input.resource)
  await authorize(context, caller, kind, 'create', resource)
  await authorizeSecrets(context, caller, resource)
  return await save(context, caller, kind, resource, 'create')
}

export async function upsertResource(context: AuthContext, input: Input<'upsertResource'>, caller: KnownCaller): Promise<Saved> {
  const kind = parseKind(input.kind)
  const resource = parseResource(kind, input.resource)
  if (resource.metadata.name !== input.name)
    throw new AppError(
      'invalid_argument',
      `metadata.name is "${resource.metadata.name}" but "${input.name}" is to be saved: a resource cannot be renamed`,
    )
  const existing = context.live.find(kind, input.name)
  // A rule with a condition has to hold for what is there and for what is to be there.
  await authorize(context, caller, kind, 'update', existing ?? resource)
  if (existing) await authorize(context, caller, kind, 'update', resource)
  else await authorize(context, caller, kind, 'create', resource)
  await authorizeSecrets(context, caller, resource)
  return await save(context, caller, kind, resource, existing ? 'update' : 'create')
}

export async function deleteResource(
  context: AuthContext,
  input: Input<'deleteResource'>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const kind = parseKind(input.kind)
  const name = fullName(context, kind, input.name)
  await authorize(context, caller, kind, 'delete', context.live.find(kind, name))
  if (kindRow(kind).singleton !== undefined) {
    await reset(context, caller, name)
    return {}
  }
  return await context.journal.commit(async (tx) => {
    const resource = context.live.find(kind, name)
    if (!resource) throw notFound(kind, name)
    checkDeletable(context, caller, resource)
    await removeResource(tx, kind, name, context.now())
    await deleteSecrets(tx, resource)
    await revokeEnded(context, tx, await endCredentialsOf(context, tx, resource))
    await endForeign(context, tx, resource)
    await endMachinesOf(context, tx, resource)
    if (kind === 'secret') await dropValue(tx, name)
    const ended = await endUsersOf(context, tx, caller, resource)
    if (kind === 'app') await deleteUpstreamRecordsOfApp(tx, name)
    const event = resourceEvent(context, caller, 'delete', resource)
    return { output: {}, events: [...(event ? [event] : []), ...ended] }
  })
}

/** One transaction: the rules of the kind, the resource, its event, and what ends with it. */
export async function save(
  context: AuthContext,
  caller: KnownCaller,
  kind: Kind,
  resource: AnyResource,
  permitted: 'create' | 'update',
): Promise<Saved> {
  return await context.journal.commit(async (tx) => {
    const existing = context.live.find(kind, resource.metadata.name)
    const prepared = withoutValue(prepareResource(context, caller, resource, existing))
    const replaceable = existing !== undefined && (permitted === 'update' || isUntouchedDefault(existing))
    if (!existing && permitted === 'update')
      throw new AppError('aborted', `${kind} was deleted by someone else meanwhile: read it again and repeat your change`)
    const stored = await storeSecrets(context, tx, prepared, replaceable ? existing : undefined)
    const saved = replaceable
      ? await replaceResource(tx, kind, stored, context.now())
      : await insertResource(tx, kind, stored, context.now())
    await sealValue(context, tx, resource)
    await endForeign(context, tx, existing)
    const ended = await endUsersOfChange(context, tx, caller, saved, existing)
    // One that expired may have left something behind.
    if (kind === 'user' && !replaceable) await revokeEnded(context, tx, await renewAccount(context, tx, saved.metadata.name))
    if (kind === 'bot' && !replaceable) await endMachinesOf(context, tx, saved)
    if (saved.kind === 'token') await limitHosts(context, tx, saved)
    const event = resourceEvent(context, caller, replaceable ? 'update' : 'create', saved)
    return {
      output: { resource: saved, created: !replaceable, warnings: findWarnings(saved) },
      events: [...(event ? [event] : []), ...ended],
    }
  })
}

/** Sessions by tokens of another issuer rest on the configuration as it was when they began. */
async function endForeign(context: AuthContext, tx: Executor, before: AnyResource | undefined): Promise<void> {
  if (before?.kind === 'app_auth_config') await revoke(context, tx, 'jwt', [foreignCredentialId(before)])
}

/** A singleton nobody has set yet may be "created" although its defaults are there. */
function isUntouchedDefault(resource: AnyResource): boolean {
  return kindRow(resource.kind).singleton !== undefined && resource.metadata.labels?.['teleport.dev/origin'] === 'defaults'
}

async function reset(context: AuthContext, caller: KnownCaller, name: string): Promise<void> {
  const initial = defaultAuthPreference()
  if (name !== initial.metadata.name) throw new AppError('not_found', `cluster_auth_preference "${name}" not found`)
  await save(context, caller, 'cluster_auth_preference', initial, 'update')
}

/** A join token may also be named by what stands for it, so that nobody has to write down a secret. */
function fullName(context: AuthContext, kind: Kind, name: string): string {
  if (kind !== 'token' || context.live.find(kind, name)) return name
  return context.live.list('token').find((token) => safeTokenName(context, token) === name)?.metadata.name ?? name
}

/** A name that is a secret is not repeated: messages reach logs. */
function notFound(kind: Kind, name: string): AppError {
  return new AppError('not_found', kindRow(kind).secretName ? `${kind} not found` : `${kind} "${name}" not found`)
}

async function toWire(context: AuthContext, resource: AnyResource, withSecrets: boolean): Promise<WireResource> {
  if (withSecrets) return await withSecretFields(context, resource)
  if (resource.kind !== 'token') return resource
  const shown = withoutSecrets(resource)
  const { name } = shown.metadata
  return hasSecretName(shown) ? { ...shown, metadata: { ...shown.metadata, name: mask(name) } } : shown
}

/** Enough to tell two tokens apart, not enough to use one. */
function mask(name: string): string {
  const hidden = Math.max(Math.ceil(name.length * 0.75), name.length - 8)
  return '*'.repeat(hidden) + name.slice(hidden)
}
