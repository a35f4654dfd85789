import type { Identity } from '../resources/identity.ts'
import type { Lock } from '../resources/lock.ts'
import type { Role } from '../resources/role.ts'
import { serverAccess } from './check.ts'
import {
  allowsArguments,
  allowsName,
  allowsServer,
  deniesArguments,
  deniesName,
  deniesServer,
  mfaRequiredAlways,
  mfaSatisfied,
  rulesFor,
  type ServerView,
  type Verdict,
} from './conditions.ts'
import type { Decision } from './decision.ts'
import { findLock, lockReason } from './locks.ts'
import { type CompiledConditions, type CompiledRole, compileRoles, type NameList, type RoleSet } from './role-set.ts'

export interface Explanation {
  steps: Step[]
  decision: Decision
}

/** One thing that was looked at. `detail` names labels, patterns and rules: for administrators only. */
export interface Step {
  subject: 'lock' | 'role' | 'label' | 'tool' | 'method' | 'rule' | 'scope' | 'mfa'
  /** The role, lock, token or cluster setting it is about. */
  name: string
  verdict: 'allows' | 'denies' | 'does not apply'
  detail: string
}

export interface Question {
  roles: readonly Role[]
  identity: Identity
  server: ServerView
  /** Absent: whether the server can be reached. */
  tool?: string | undefined
  /** The arguments of a call; absent: whether the tool is seen in the list. */
  args?: unknown
  /** A method that the gateway does not know; asked for instead of a tool. */
  method?: string | undefined
  locks: readonly Lock[]
  /** Milliseconds since 1970. */
  now: number
  requireMfa: boolean
}

/**
 * Why an identity may or may not reach a server, use a tool of it, or send it a method that the gateway does not know. The decision is that of `serverAccess`, after locks. It is
 * allowed exactly if no step denies and some step about a role allows.
 */
export function explainAccess(question: Question): Explanation {
  const { identity, roles, server, tool, method } = question
  const set = compileRoles(roles, identity)
  const steps = [
    ...explainRefusals(question, set),
    ...set.roles.flatMap((role) => explainDeny(role, question)),
    ...set.roles.flatMap((role) => explainAllow(role, question)),
  ]
  const lock = findLock(question.locks, identity, question.now)
  if (lock) return { steps, decision: { allow: false, kind: 'lock', by: `lock/${lock.metadata.name}`, reason: lockReason(lock) } }
  const access = serverAccess(set, server, { mfaVerified: identity.mfaVerified, requireMfa: question.requireMfa })
  if (method !== undefined) return { steps, decision: access.check('method', method) }
  if (tool === undefined) return { steps, decision: access.decision }
  return { steps, decision: question.args === undefined ? access.check('tool', tool) : access.check('tool', tool, question.args) }
}

/** Locks, the scope of the token, a second factor for everybody: what refuses before any role is read. */
function explainRefusals({ identity, locks, now, requireMfa, server }: Question, set: RoleSet): Step[] {
  const steps: Step[] = []
  const lock = findLock(locks, identity, now)
  steps.push(
    lock
      ? { subject: 'lock', name: lock.metadata.name, verdict: 'denies', detail: lockReason(lock) }
      : {
          subject: 'lock',
          name: identity.name,
          verdict: 'does not apply',
          detail: `none of ${locks.length} locks is in force for this identity`,
        },
  )
  if (identity.servers) {
    const inScope = identity.servers.includes(server.name)
    const detail = `the token is limited to ${identity.servers.join(', ') || 'no server'}`
    steps.push({ subject: 'scope', name: identity.credentialId, verdict: inScope ? 'does not apply' : 'denies', detail })
  }
  if (mfaRequiredAlways(set.roles, requireMfa)) {
    const given = mfaSatisfied(identity, identity.mfaVerified)
    const name = requireMfa ? 'cluster_auth_preference' : set.roles.map((role) => role.name).join(', ')
    const detail = `every session requires a second factor, ${given ? 'which was given' : 'which was not given'}`
    steps.push({ subject: 'mfa', name, verdict: given ? 'does not apply' : 'denies', detail })
  }
  return steps
}

function explainDeny(role: CompiledRole, question: Question): Step[] {
  const { server, identity, args } = question
  const steps: Step[] = []
  const { deny, name } = role
  const labels = server.kind === 'db' ? deny.databases : deny
  if (labels.labels || labels.labelsExpression !== undefined) {
    const verdict = deniesServer(role, server, identity)
    steps.push({
      subject: 'label',
      name,
      verdict: verdict.holds ? 'denies' : 'does not apply',
      detail: detail('deny', labelsText(role, 'deny', server), verdict),
    })
  }
  const asked = findAsked(question)
  if (!asked) return steps
  const { patterns } = asked.of(deny)
  const listed = deniesName(role, asked.what, asked.name)
  if (listed.holds || patterns.length > 0)
    steps.push({
      subject: asked.what,
      name,
      verdict: listed.holds ? 'denies' : 'does not apply',
      detail: detail('deny', `mcp.${asked.what}s ${list(patterns)}`, listed),
    })
  if (asked.what === 'method' || args === undefined) return steps
  for (const rule of rulesFor(deny, asked.name)) {
    const verdict = deniesArguments(rule, server, identity, args)
    steps.push({
      subject: 'rule',
      name,
      verdict: verdict.holds ? 'denies' : 'does not apply',
      detail: detail('deny', `where ${rule.where}`, verdict),
    })
  }
  return steps
}

/** The parts of one role that have to hold together, then what the role says in all. */
function explainAllow(role: CompiledRole, question: Question): Step[] {
  const { server, identity, args } = question
  const asked = findAsked(question)
  const parts: { subject: Step['subject']; text: string; verdict: Verdict }[] = []
  parts.push({ subject: 'label', text: labelsText(role, 'allow', server), verdict: allowsServer(role, server, identity) })
  if (asked) {
    const text = `mcp.${asked.what}s ${list(asked.of(role.allow).patterns)}`
    parts.push({ subject: asked.what, text, verdict: allowsName(role, server, asked.what, asked.name) })
    for (const rule of asked.what === 'method' || args === undefined ? [] : rulesFor(role.allow, asked.name)) {
      parts.push({ subject: 'rule', text: `where ${rule.where}`, verdict: allowsArguments(rule, asked.name, server, identity, args) })
    }
  }
  const { name } = role
  const steps = parts.map(({ subject, text, verdict }): Step => ({
    subject,
    name,
    verdict: verdict.holds ? 'allows' : 'does not apply',
    detail: detail('allow', text, verdict),
  }))
  const missing = parts.filter(({ verdict }) => !verdict.holds).map(({ subject }) => subject)
  if (missing.length > 0)
    return [
      ...steps,
      {
        subject: 'role',
        name,
        verdict: 'does not apply',
        detail: `grants nothing here: its ${[...new Set(missing)].join(' and ')} part does not match`,
      },
    ]
  steps.push({ subject: 'role', name, verdict: 'allows', detail: 'everything this role asks for matches' })
  if (role.requireMfa && !mfaSatisfied(identity, identity.mfaVerified))
    steps.push({ subject: 'mfa', name, verdict: 'denies', detail: 'options.require_session_mfa: a second factor was not given' })
  return steps
}

interface Asked {
  what: 'tool' | 'method'
  name: string
  of(conditions: CompiledConditions): NameList
}

/** The name that is asked about, if any, and the list that decides over it. */
function findAsked({ tool, method }: Question): Asked | undefined {
  if (method !== undefined) return { what: 'method', name: method, of: ({ methods }) => methods }
  return tool === undefined ? undefined : { what: 'tool', name: tool, of: ({ tools }) => tools }
}

function labelsText({ allow, deny }: CompiledRole, part: 'allow' | 'deny', { labels, kind }: ServerView): string {
  const chosen = part === 'allow' ? allow : deny
  const [conditions, field] = kind === 'db' ? ([chosen.databases, 'db_labels'] as const) : ([chosen, 'app_labels'] as const)
  const wanted = [
    conditions.selector ? `${field} ${JSON.stringify(conditions.selector)}` : '',
    conditions.labelsExpression === undefined ? '' : `${field}_expression ${conditions.labelsExpression}`,
  ].filter((text) => text !== '')
  return `${wanted.join(' and ') || `no ${field}`} for a server with ${JSON.stringify(labels)}`
}

function detail(part: 'allow' | 'deny', text: string, { holds, fault }: Verdict): string {
  const outcome = holds ? 'matches' : 'does not match'
  return `${part}: ${text}: ${fault === undefined ? outcome : `counts as ${holds ? 'matching' : 'not matching'}, because ${fault}`}`
}

function list(patterns: readonly string[]): string {
  return patterns.length > 0 ? patterns.join(', ') : '(none)'
}
