import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createIds } from '../../lib/ids.ts'
import { createRedactor } from '../../lib/redact.ts'
import { createMcpMetrics } from '../../mcp/metrics.ts'
import { createBridgedUpstream } from '../../mcp/eras/bridged.ts'
import type { Host } from '../../mcp/hosting/host.ts'
import { createUpstream } from '../../mcp/upstream/open.ts'
import type { Upstream } from '../../mcp/upstream/upstream.ts'
import { type Agent, type AgentOptions, startAgent } from '../../services/agent/start.ts'
import { createLabelCommand } from '../../services/agent/label-command.ts'
import { realClock } from '../../tunnel/clock.ts'
import { addJournalMetrics, type Diagnostics } from './diagnostics.ts'
import type { ProcessOptions } from './process-options.ts'

/** The Auth Service as an agent sees it: in the same process, or over its connection. */
export type AuthLink = Pick<
  AgentOptions,
  'clusterName' | 'hostId' | 'api' | 'feed' | 'assertionKeys' | 'refreshKeys' | 'knownSince' | 'staleMs' | 'ship' | 'sessionTag'
>

/** The agent with what only a process has: accounts, children, the journal's directory. */
export function startAgentOn(
  { config, env, log, now, version }: ProcessOptions,
  link: AuthLink,
  host: Host,
  diagnostics: Diagnostics | undefined,
): Agent {
  const spoolDirectory = join(config.dataDirectory, 'spool')
  if (diagnostics) addJournalMetrics(diagnostics.metrics, spoolDirectory)
  const { clusterName } = link
  const bridge = (upstream: Upstream, server: string): Upstream =>
    createBridgedUpstream(upstream, { server, now, random: (size) => randomBytes(size), log, version })
  return startAgent({
    ...link,
    config: config.agent,
    databases: config.databases,
    hostname: config.nodename ?? hostname(),
    version,
    spoolDirectory,
    metrics: diagnostics && createMcpMetrics(diagnostics.metrics),
    createUpstream: (app, readSecret) =>
      bridge(createUpstream(app, { now, log, demo: { clusterName }, stdio: { ...host, readSecret }, http: {} }), app.metadata.name),
    bridge,
    labels: { run: createLabelCommand(env), after: realClock.after, log },
    redactor: createRedactor(),
    ids: createIds(),
    now,
    monotonic: () => performance.now(),
    log,
  })
}
