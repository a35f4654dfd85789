import type { JoinedIdentity } from '../../../api/join.ts'
import { joinDigest } from '../../../api/possession.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import type { AuthContext, Caller, KnownCaller } from '../context.ts'
import { parseProvenKey } from '../issue.ts'
import { issueOutput } from '../join/bot-outputs.ts'
import { joinBot, renewBot } from '../join/bots.ts'
import { joinHost, renewHost } from '../join/hosts.ts'
import { noteHost, noteTunnels } from '../join/inventory.ts'
import { findJoinToken, findTokenLock, safeNameOf, safeTokenName } from '../join/join-tokens.ts'
import { isJoinMethod, joinMethodRow } from '../join/methods.ts'
import type { ProvenJoin } from '../join/proven-join.ts'
import { JoinRefusal } from '../join/refusal.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

export async function startJoin(context: AuthContext, _input: unknown, _caller: Caller): Promise<{ nonce: string }> {
  return { nonce: context.nonces.issue() }
}

/**
 * A machine joins with its token. One event tells how it went. What concerns the token is refused in the same words, whatever was wrong.
 * Throws `permission_denied` (also as `JoinRefusal`), `aborted` for a challenge that is over, `resource_exhausted` after too many failures.
 */
export async function join(context: AuthContext, input: Input<'join'>, caller: Caller): Promise<JoinedIdentity> {
  const { remoteAddress } = caller
  await context.limits.startJoin(remoteAddress)
  try {
    const proven = await proveJoin(context, input, remoteAddress)
    const joined = await context.journal.commit<JoinedIdentity | JoinRefusal>((tx) =>
      input.role === 'Bot' ? joinBot(context, tx, proven) : joinHost(context, tx, proven),
    )
    if (joined instanceof JoinRefusal) throw joined
    await context.limits.undoJoin(remoteAddress)
    return joined
  } catch (thrown) {
    // What is only malformed or came at a bad time is no try to get in.
    if (thrown instanceof JoinRefusal) await recordRefusal(context, input, remoteAddress, thrown)
    else await context.limits.undoJoin(remoteAddress)
    throw thrown
  }
}

async function proveJoin(context: AuthContext, input: Input<'join'>, remoteAddress: string): Promise<ProvenJoin> {
  const key = parseProvenKey('join', joinDigest(input), input)
  await context.nonces.use(input.nonce)
  const token = findJoinToken(context, input.token)
  // Of one that is used up it tells which it was, and of a guess nothing.
  if (!token) throw new JoinRefusal('there is no such token, or it is over', { join_token: safeNameOf(context, input.token) })
  const { join_method: method, roles } = token.spec
  const name = safeTokenName(context, token)
  const locked = findTokenLock(context, name)
  if (locked !== undefined) throw new JoinRefusal(locked, { join_token: name })
  if (!isJoinMethod(method) || method !== input.proof.method)
    throw new JoinRefusal(`the token is for the method ${method}`, { join_token: name })
  const findings = await joinMethodRow(method).verify(context, token, input)
  if (!roles.includes(input.role)) {
    const remedy = input.role === 'Bot' ? 'tctl bots instances add BOT' : `tctl tokens add --type=${input.role.toLowerCase()}`
    const shown = `this join token is not for the role ${input.role}, only for ${roles.join(', ')}: ${remedy} makes one that is`
    throw new JoinRefusal(`the token is not for the role ${input.role}`, { join_token: name, shown })
  }
  return { input, key, token, remoteAddress, ...findings }
}

async function recordRefusal(context: AuthContext, input: Input<'join'>, remoteAddress: string, thrown: JoinRefusal): Promise<void> {
  const { hostname, host_id, role, proof } = input
  const event = {
    remote_addr: remoteAddress,
    success: false,
    error: thrown.reason,
    join_method: proof.method,
    roles: [role],
    ...(hostname !== undefined && { hostname }),
    ...(host_id !== undefined && { server_id: host_id }),
    ...thrown.facts,
  }
  await context.journal.record([buildEvent(role === 'Bot' ? 'bot.join' : 'instance.join', event, context.build)])
}

export async function renewIdentity(context: AuthContext, input: Input<'renewIdentity'>, caller: KnownCaller): Promise<JoinedIdentity> {
  const { kind, credential, internal } = caller.identity
  if (credential === 'certificate' && kind === 'host') return await renewHost(context, input, caller)
  if (credential === 'certificate' && internal === true) return await renewBot(context, input, caller)
  throw new AppError('permission_denied', 'only the own certificates of hosts and bots are renewed here')
}

export async function issueBotOutput(context: AuthContext, input: Input<'issueBotOutput'>, caller: KnownCaller): Promise<JoinedIdentity> {
  return await issueOutput(context, input, caller)
}

/** A host says that it is there. */
export async function announceHost(
  context: AuthContext,
  facts: Input<'announceHost'>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const { identity } = caller
  if (identity.kind !== 'host' || identity.roles.includes('Admin'))
    throw new AppError('permission_denied', 'the inventory is written by services only')
  return await context.journal.commit(async (tx) => {
    await noteHost(context, tx, caller, facts)
    return { output: {}, events: [] }
  })
}

/** A proxy says which agents are connected to it: when one is killed nobody else can. */
export async function announceTunnels(
  context: AuthContext,
  { agents }: Input<'announceTunnels'>,
  { identity }: KnownCaller,
): Promise<Record<string, never>> {
  if (identity.kind !== 'host' || !identity.roles.includes('Proxy'))
    throw new AppError('permission_denied', 'a proxy says which agents are connected to it, and nobody else')
  return await context.journal.commit(async (tx) => {
    await noteTunnels(context, tx, identity.name, agents)
    return { output: {}, events: [] }
  })
}
