import { fetchStatus } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const type = call.text('type')?.replace(/^tls-/, '').replace('-', '_')
  const { authorities } = await withApi(fetchStatus)
  const wanted = authorities.filter((authority) => type === undefined || authority.type === type)
  if (wanted.length === 0) throw new AppError('not_found', `the cluster has no ${type ?? ''} certificate authority`)
  io.stdout.write(sanitizeTerminal(wanted.map(({ certificate }) => `${certificate.trim()}\n`).join('')))
}
