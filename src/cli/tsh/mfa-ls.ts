import { fetchMfaDevices } from '../../client/mfa.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const { items } = await withConnection(context, ({ api }) => fetchMfaDevices(api))
  const format = formatOf(call)
  if (items.length === 0 && format === 'text') return void io.stderr.write('You have no second factor: tsh mfa add sets one up.\n')
  const isVerbose = call.flag('verbose')
  io.stdout.write(
    renderOutput(format, items, (devices) => {
      const rows = devices.map(({ id, name, type, passwordless, added, last_used }) => [
        ...(isVerbose ? [id] : []),
        name,
        passwordless ? `${type} (passwordless)` : type,
        added,
        last_used ?? 'never',
      ])
      return renderTable([...(isVerbose ? ['ID'] : []), 'Name', 'Type', 'Added At', 'Last Used'], rows, isVerbose ? {} : io)
    }),
  )
}
