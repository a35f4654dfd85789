import { fetchStatus } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const status = await withApi(fetchStatus)
  io.stdout.write(
    renderOutput(formatOf(call), status, ({ cluster_name, version, authorities, ca_pins }) => {
      const rows = [
        ['Cluster', cluster_name],
        ['Version', version],
        ...authorities.map(({ type, not_after }) => [`${type} CA`, `valid until ${not_after}`]),
        ...ca_pins.map((pin) => ['CA pin', pin]),
      ]
      const width = Math.max(...rows.map(([name = '']) => name.length))
      return rows.map(([name = '', value = '']) => `${name.padEnd(width)}  ${value}`).join('\n')
    }),
  )
}
