import { z } from 'zod'
import { resourceSchema } from './envelope.ts'

const address = z.string().min(1).max(300)

const specSchema = z.strictObject({
  version: z.string(),
  hostname: z.string(),
  host_id: z.string(),
  public_addrs: z.array(address).max(16).default([]).describe('How clients reach it, HOST:PORT.'),
  tunnel_addr: address
    .optional()
    .describe(
      'Where agents dial it, HOST:PORT; absent where nobody said and it listens on all addresses: then by the address that agents know.',
    ),
})

/** A Proxy Service of the cluster, so that agents keep a tunnel to each; kept alive by its heartbeat, gone when it expires. */
export const proxySchema = resourceSchema('proxy', ['v2'], specSchema)
