import { dropMfaDevice, fetchMfaDevices } from '../../client/mfa.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { askProof } from './mfa-add.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const wanted = call.argument('name') ?? ''
  await withConnection(context, async ({ api }) => {
    const { items, change_needs, page } = await fetchMfaDevices(api)
    const device = items.find(({ id, name }) => name === wanted || id === wanted)
    if (!device) throw new AppError('not_found', `you have no second factor "${wanted}": tsh mfa ls shows them`)
    if (change_needs === 'browser')
      throw new AppError('failed_precondition', `your second factor is a passkey, which browsers alone can use: remove it at ${page}`)
    await dropMfaDevice(api, { name: device.name, proof: await askProof(io, change_needs) })
    io.stdout.write(`Second factor "${sanitizeTerminal(device.name)}" removed.\n`)
  })
}
