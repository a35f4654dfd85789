import { z } from 'zod'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { mcpLimitsSchema } from '../../mcp/limits-schema.ts'

const address = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^:\s[\]]+):\d{1,5}$/, 'must be HOST:PORT, such as 127.0.0.1:3080')

/** The section `proxy_service` of sallyport.yaml. */
export const proxyConfigSchema = z
  .strictObject({
    enabled: yesNoSchema.default(true).describe('Whether this process runs the Proxy Service, the only listener that clients see.'),
    web_listen_addr: address.default('127.0.0.1:3080').describe('Where to listen, for TLS and (from loopback only) plain HTTP alike.'),
    public_addr: z
      .union([address, z.array(address).min(1)])
      .optional()
      .describe('How clients reach this proxy, HOST:PORT; several are possible, the first is printed in links.'),
    tunnel_public_addr: z
      .union([address, z.array(address).min(1)])
      .optional()
      .describe(
        'Where agents reach this proxy, and no other, HOST:PORT: they keep a tunnel to each proxy of the cluster. public_addr unless told; of several the first counts.',
      ),
    https_keypairs: z
      .array(z.strictObject({ key_file: z.string(), cert_file: z.string() }))
      .max(1)
      .default([])
      .describe('A certificate of your own (PEM). Without one, the cluster issues itself one that tsh verifies by the CA pin.'),
    https_keypairs_reload_interval: z
      .literal('0s')
      .optional()
      .describe("Teleport's; accepted as it writes it: a new certificate is taken at the next start."),
    acme: z
      .strictObject({ enabled: z.union([z.literal(false), z.literal(['no', 'off'])]).optional() })
      .optional()
      .describe("Teleport's; accepted while it is off: put a certificate into https_keypairs."),
    max_request_bytes: z
      .int()
      .min(1024)
      .max(64 * 1024 * 1024)
      .default(10 * 1024 * 1024)
      .describe('The largest body of an MCP request, in bytes.'),
    mcp_limits: mcpLimitsSchema('at the URLs that show several servers as one'),
  })
  .describe('The Proxy Service: authenticates and routes.')

export type ProxyConfig = z.output<typeof proxyConfigSchema>

export function publicAddresses(config: ProxyConfig): string[] {
  return config.public_addr === undefined ? [] : [config.public_addr].flat()
}

/** Where agents are to dial this proxy; undefined where nobody said. */
export function tunnelAddress(config: ProxyConfig): string | undefined {
  return [config.tunnel_public_addr ?? []].flat()[0] ?? publicAddresses(config)[0]
}

/** Host and port of a configured address; IPv6 addresses without their brackets. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
}
