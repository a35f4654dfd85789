import { resolve } from 'node:path'
import { writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import { loadBotConfig } from '../../services/bot/config.ts'
import type { Context } from './context.ts'

/** What stands in a unit as it is: a space, a quote or a percent sign would mean something else there. */
const PLAIN = /^[A-Za-z0-9_@.,:+/-]+$/

/** Prints a unit, or writes it. */
export async function run({ call, io }: Context): Promise<void> {
  const file = call.text('config')
  if (file === undefined) throw new AppError('invalid_argument', 'name the configuration file with -c')
  // A fault in it is better told now than by systemd.
  await loadBotConfig(file, io.env, { top: {}, onboarding: {} })
  const [name, user, group] = [call.text('name') ?? 'tbot', call.text('user') ?? 'tbot', call.text('group')]
  const program = resolve(call.text('program') ?? '/usr/local/bin/tbot')
  const config = resolve(file)
  for (const text of [name, user, group ?? user, program, config])
    if (!PLAIN.test(text))
      throw new AppError('invalid_argument', `${JSON.stringify(text)} cannot stand in a unit of systemd: use plain names`)
  const unit = renderUnit({ user, group, program, config })
  if (!call.flag('write')) return void io.stdout.write(unit)
  const path = `/etc/systemd/system/${name}.service`
  await writeFileAtomic(path, unit, { mode: 0o644 })
  io.stdout.write(`${path} is written: systemctl daemon-reload && systemctl enable --now ${name}\n`)
}

function renderUnit({
  user,
  group,
  program,
  config,
}: {
  user: string
  group: string | undefined
  program: string
  config: string
}): string {
  return `[Unit]
Description=Keeps the credentials of this machine fresh
After=network-online.target
Wants=network-online.target

[Service]
User=${user}
${group === undefined ? '' : `Group=${group}\n`}StateDirectory=sallyport/bot
ExecStart=${program} start -c ${config}
ExecReload=/bin/kill -USR1 $MAINPID
Restart=on-failure
RestartSec=5
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
`
}
