import { matchLabels } from '../../access/labels.ts'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { type Caller, ownerOf } from '../../mcp/caller.ts'
import { McpEndpoint } from '../../mcp/endpoint.ts'
import { idleMsOf, type McpLimits } from '../../mcp/limits-schema.ts'
import type { AuditOptions } from '../../mcp/recorder.ts'
import { SseDoor } from '../../mcp/sse-door.ts'
import type { Upstream, UpstreamHealth } from '../../mcp/upstream/upstream.ts'
import { type App, labelsOf } from '../../resources/app.ts'
import type { Selector } from '../../resources/role.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import { withTag } from '../../tunnel/session-tag.ts'
import { withSignIn } from './account-sign-in.ts'
import { callerWords } from './caller-words.ts'
import { HealthChecks } from './health-checks.ts'
import { type DynamicLabelOptions, followLabels, hasDynamicLabels } from './dynamic-labels.ts'
import { type AccountSource, ownHeaders, type SecretSource, type TokenSource } from './headers.ts'

/** An MCP server that this agent serves now. */
export interface Served {
  /** With the results of its dynamic labels; another object when one of them changed. */
  app: App
  endpoint: McpEndpoint
  /** In front of the endpoint: clients come through it. */
  door: SseDoor<Caller>
  /** How it does; absent where nobody watches. */
  health: UpstreamHealth | undefined
}

/** Answers the requests of a verified caller. */
export interface Door {
  serve(exchange: Exchange, caller: Caller): Promise<void>
}

export interface ServersOptions {
  selectors: readonly Selector[]
  fixed: readonly App[]
  createUpstream(app: App, readSecret: (name: string) => string | Promise<string>): Upstream
  audit: AuditOptions
  /** What HTTP servers are told of their callers. */
  tokens: TokenSource
  /** What they ask of the gateway itself. */
  secrets: SecretSource
  /** Of callers, where servers ask for such. */
  accounts?: AccountSource | undefined
  /** Of the sessions with one server; the usual ones unless told. */
  limits?: McpLimits | undefined
  /** What the ids of sessions end in, for a proxy that has to find the agent of a session. */
  sessionTag?: string | undefined
  /** What runs the commands of dynamic labels; without it none are run. */
  labels?: DynamicLabelOptions | undefined
  /** Whether it runs those of app resources too. */
  allowsCommands?: boolean
  log: Logger
  /** Told after a server came, changed or went (`undefined`). */
  onChange(name: string, served: Served | undefined): void
  /** Told after a server failed, or recovered. */
  onHealth?: (name: string) => void
}

/** Keeps what is served equal to what is wanted: the static apps, and every app resource that a selector matches. */
export class Servers {
  readonly #options: ServersOptions
  readonly #served = new Map<string, Served>()
  readonly #fixed = new Set<string>()
  readonly #checks: HealthChecks
  /** What is wanted of each server, also of one whose labels are not known yet, with what ends the commands of its labels. */
  readonly #wanted = new Map<string, { app: App; stop: () => void }>()

  constructor(options: ServersOptions) {
    this.#options = options
    this.#checks = new HealthChecks({ log: options.log })
    for (const app of options.fixed) {
      const { name } = app.metadata
      if (this.#fixed.has(name)) options.log.warn('two apps of the configuration file have one name: the second is ignored', { app: name })
      else this.#begin(app)
      this.#fixed.add(name)
    }
  }

  find(name: string): Served | undefined {
    return this.#served.get(name)
  }

  list(): Served[] {
    return [...this.#served.values()]
  }

  /** Brings one app in line with what is wanted of it now; `undefined` when the resource is gone. A failure concerns this app alone. */
  reconcile(name: string, app: App | undefined): void {
    if (this.#fixed.has(name)) {
      if (app) this.#options.log.warn('an app resource has the name of an app of the configuration file: ignored', { app: name })
      return
    }
    const current = this.#wanted.get(name)
    const isWanted = app !== undefined && this.#options.selectors.some((selector) => matchLabels(selector, labelsOf(app)))
    if (current && app && isWanted && isSame(current.app, app)) return
    if (current && app && isWanted && isSameServer(current.app, app)) {
      this.#wanted.set(name, { ...current, app })
      return this.#relabel(app)
    }
    if (current) this.#end(name, isWanted ? `MCP server "${name}" was changed: connect again` : `MCP server "${name}" is no longer served`)
    if (!app || !isWanted) return
    if (hasDynamicLabels(app) && this.#options.allowsCommands !== true) this.#options.log.warn(NO_COMMANDS, { app: name })
    else this.#begin(app)
  }

  /** Serves it, as soon as the labels are known that commands have to say. */
  #begin(app: App): void {
    const { name } = app.metadata
    const { labels } = this.#options
    if (!labels || !hasDynamicLabels(app)) {
      this.#wanted.set(name, { app, stop: () => {} })
      return this.#register(app)
    }
    const wanted = { app, stop: followLabels(app, labels, (labelled) => this.#relabel(labelled)) }
    this.#wanted.set(name, wanted)
  }

  #relabel(app: App): void {
    const served = this.#served.get(app.metadata.name)
    if (!served) return this.#register(app)
    served.app = app
    this.#options.onChange(app.metadata.name, served)
  }

  #end(name: string, reason: string): void {
    this.#wanted.get(name)?.stop()
    this.#wanted.delete(name)
    const served = this.#served.get(name)
    if (served) this.#unregister(served, reason)
  }

  /** Programs are given a secret when they start: those that have another one than it is now are begun anew. */
  secretChanged(secret: string): void {
    for (const served of this.list()) {
      const { metadata, spec } = served.app
      if (!spec.mcp?.env_from?.some((source) => 'secret' in source && source.secret === secret)) continue
      this.#unregister(served, `a secret of MCP server "${metadata.name}" was changed: connect again`)
      this.#register(served.app)
    }
  }

  #register(app: App): void {
    const { createUpstream, audit, tokens, secrets, accounts, limits, log, onChange, onHealth } = this.#options
    const { name } = app.metadata
    try {
      const reached = createUpstream(app, (secret) => secrets.get(secret, name))
      const upstream = app.spec.mcp?.oauth ? withSignIn(reached) : reached
      const endpoint = new McpEndpoint({
        app,
        upstream,
        audit,
        log,
        sessionId: () => this.#sessionId(),
        ownHeaders: (caller) => ownHeaders(app, caller, tokens, secrets, accounts),
        words: (caller) => callerWords(app, caller, tokens),
        ...(limits && { limits: { perCaller: limits.sessions_per_user, total: limits.sessions, idleMs: idleMsOf(limits) } }),
      })
      const served = { app, endpoint, door: this.#doorOf(endpoint), health: upstream.health }
      this.#served.set(name, served)
      log.info('MCP server registered', { app: name, uri: app.spec.uri })
      onChange(name, served)
      upstream.health?.subscribe(() => this.#served.get(name) === served && onHealth?.(name))
      this.#checks.watch(app, upstream)
    } catch (error) {
      log.warn('MCP server cannot be served', { app: name, error: String(error) })
    }
  }

  #doorOf(endpoint: McpEndpoint): SseDoor<Caller> {
    const { audit, limits, log } = this.#options
    return new SseDoor({
      serve: (exchange, caller) => endpoint.serve(exchange, caller),
      ownerOf: ({ identity }) => ownerOf(identity),
      admits: (caller) => caller.access().decision.allow,
      reasonToLeave: (caller) =>
        caller.identity.expiresAt <= audit.now() ? 'the credential has expired: sign in again' : caller.reasonToLeave(),
      token: () => this.#sessionId(),
      now: audit.now,
      log,
      ...(limits && { limits: { perOwner: limits.sessions_per_user, total: limits.sessions } }),
    })
  }

  #sessionId(): string {
    const { audit, sessionTag } = this.#options
    const id = audit.ids.token(24)
    return sessionTag === undefined ? id : withTag(id, sessionTag)
  }

  #unregister(served: Served, reason: string): void {
    const { name } = served.app.metadata
    this.#served.delete(name)
    this.#checks.forget(name)
    this.#options.log.info('MCP server unregistered', { app: name, reason })
    this.#options.onChange(name, undefined)
    closeServed(served, new AppError('not_found', reason)).catch((error: unknown) =>
      this.#options.log.warn('MCP server did not close cleanly', { app: name, error: String(error) }),
    )
  }

  async close(why: AppError): Promise<void> {
    await this.#checks.close()
    for (const { stop } of this.#wanted.values()) stop()
    this.#wanted.clear()
    await Promise.all(this.list().map((served) => closeServed(served, why)))
    this.#served.clear()
  }
}

const NO_COMMANDS =
  'MCP server cannot be served: its dynamic labels are commands, which this agent runs for app resources only with app_service.allow_dynamic_commands'

/** A new revision alone changes nothing for those who are connected. */
function isSame(a: App, b: App): boolean {
  const visible = ({ metadata: { revision: _, ...metadata }, spec }: App) => JSON.stringify({ metadata, spec })
  return visible(a) === visible(b)
}

/** Other labels, or another description: sessions go on, judged by what is so now. Not where commands say what labels there are. */
function isSameServer(a: App, b: App): boolean {
  return !hasDynamicLabels(a) && !hasDynamicLabels(b) && JSON.stringify(a.spec) === JSON.stringify(b.spec)
}

/** The sessions first, since they know why; then the streams of those clients that have one for everything. */
async function closeServed({ door, endpoint }: Served, why: AppError): Promise<void> {
  try {
    await endpoint.close(why)
  } finally {
    await door.close(why.message)
  }
}
