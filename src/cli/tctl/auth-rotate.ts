import { rotateKey } from '../../client/admin.ts'
import type { Context } from './context.ts'

export async function run({ io, withApi }: Context): Promise<void> {
  const { kid, signs_from } = await withApi(rotateKey)
  io.stdout.write(
    `Key ${kid} is published at /.well-known/jwks.json and signs from ${signs_from}; the old one stays as long as it is needed.\n`,
  )
}
