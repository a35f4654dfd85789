import { rm } from 'node:fs/promises'
import { writeFileAtomic } from '../../lib/atomic-file.ts'
import { createLogger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import type { BotConfig } from '../../services/bot/config.ts'
import { findKubernetes } from '../../services/bot/config.ts'
import type { DirectoryDependencies } from '../../services/bot/directory-destination.ts'
import { pause } from '../../lib/pause.ts'
import { createReaderAccess } from '../../services/bot/setfacl.ts'
import { startBot } from '../../services/bot/start.ts'
import type { RunningBot } from '../../services/bot/start.ts'
import { connectCluster } from '../../services/bot/connect-cluster.ts'
import type { Context } from './context.ts'

/** Runs a bot until it is interrupted, or with oneshot until everything is written. SIGUSR1 renews now. */
export async function serve(config: BotConfig, { call, io }: Context): Promise<number> {
  const { token, bound_keypair: keypair } = config.onboarding
  const secrets = [token ?? '', keypair?.registration_secret ?? ''].filter((secret) => !secret.startsWith('/'))
  const redactor = createRedactor({ knownSecrets: secrets })
  const isVerbose = config.debug || call.flag('debug') || /^(1|true|yes|on)$/i.test(io.env['TBOT_DEBUG'] ?? '')
  const log = createLogger({ level: isVerbose ? 'debug' : 'info', stream: io.stderr, redact: (text) => redactor.text(text) })
  const now = io.now ?? Date.now
  if (config.insecure) log.warn('nobody checks who the proxy is: insecure is set')
  const bot = await startBot({
    config,
    cluster: io.cluster?.(config) ?? connectCluster(config, { now, version: io.version ?? 'dev' }),
    env: io.env,
    log,
    now,
    random: Math.random,
    sleep: pause,
    pid: process.pid,
    directory: accountOf(now, (message) => log.warn(message)),
    kubernetes: findKubernetes(io.env),
  })
  const pidFile = call.text('pid-file')
  try {
    if (bot.diagnostics) log.info('diagnostics are served', { address: `${bot.diagnostics.address.host}:${bot.diagnostics.address.port}` })
    if (pidFile !== undefined) await writeFileAtomic(pidFile, `${process.pid}\n`, { mode: 0o644 })
    await runWithSignals(bot, call.signal, io)
  } finally {
    await bot.close()
    if (pidFile !== undefined) await rm(pidFile, { force: true })
  }
  return 0 // a stop that was asked for is no failure
}

/** What this process may do to directories. */
export function accountOf(now: () => number, warn: (message: string) => void): DirectoryDependencies {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, readers: createReaderAccess(warn), now }
}

async function runWithSignals(bot: RunningBot, signal: AbortSignal, io: Context['io']): Promise<void> {
  const renewNow = (): void => bot.renewNow()
  io.signals?.on('SIGUSR1', renewNow)
  try {
    await bot.run(signal)
  } finally {
    io.signals?.off('SIGUSR1', renewNow)
  }
}
