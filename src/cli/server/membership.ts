import { z } from 'zod'
import { type JoinSource, joinSourceFields, readJoinSource, type ReadSource } from '../../client/join-source.ts'
import { parseProxyAddress, type ProxyAddress, renderProxyAddress } from '../../client/proxy-address.ts'
import { AppError } from '../../lib/errors.ts'
import type { Environment } from '../../lib/paths.ts'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { JOIN_METHODS } from '../../resources/token.ts'
import { dialWebSocket } from '../../tunnel/web-socket.ts'

const pin = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits, as tctl status prints it')

/** What the section `teleport` says of a cluster elsewhere that this host belongs to. */
export const membershipFields = {
  proxy_server: z
    .string()
    .min(1)
    .optional()
    .describe('HOST:PORT of the proxy of the cluster that this host joins, when its Auth Service runs elsewhere.'),
  auth_server: z.string().min(1).optional().describe('Another name for proxy_server: the Auth Service is reached through the proxy.'),
  auth_token: z.string().min(1).optional().describe('The older spelling of join_params.token_name.'),
  join_params: z
    .strictObject({
      token_name: z
        .string()
        .min(1)
        .describe('The join token, or the absolute path of a file with it; of methods other than token, its name.'),
      method: z.enum(JOIN_METHODS).default('token').describe('How this host proves that it may join.'),
      ...joinSourceFields,
    })
    .refine(({ method, oidc }) => method !== 'oidc' || oidc !== undefined, { path: ['oidc'], error: 'required for method oidc' })
    .optional()
    .describe('How this host joins the cluster. Needed for the first time, and after its certificate has expired.'),
  via_websocket: yesNoSchema
    .optional()
    .describe(
      'Whether to reach the proxy over WebSockets, where only HTTPS passes or something in between ends TLS. Done where HTTPS_PROXY names an HTTP proxy for it, unless this says no.',
    ),
  ca_pin: z
    .union([pin, z.array(pin).min(1), z.literal('').transform(() => undefined)])
    .optional()
    .describe(
      'Of the certificate authority of the cluster, as tctl status shows it; needed unless a known authority vouches for the proxy.',
    ),
}

const fieldsSchema = z.object(membershipFields)

/** The cluster that this host belongs to, where it is not the one of its own Auth Service. */
export interface Membership {
  proxy: ProxyAddress
  /** How another proxy of the cluster is reached from here: as that one. */
  reach: (address: ProxyAddress) => ProxyAddress
  caPins: string[]
  /** How this host joins; undefined where nothing is configured. */
  join: JoinSource | undefined
}

/** Given on the command line: they win over the file. */
export interface MembershipFlags {
  token?: string | undefined
  caPin?: string | undefined
  authServer?: string | undefined
}

/** @throws AppError invalid_argument for two names of one thing, or an address that is none. */
export function findMembership(file: z.output<typeof fieldsSchema>, flags: MembershipFlags, env: Environment): Membership | undefined {
  if (file.proxy_server !== undefined && file.auth_server !== undefined)
    throw new AppError('invalid_argument', 'auth_server is another name for proxy_server: keep one')
  if (file.auth_token !== undefined && file.join_params)
    throw new AppError('invalid_argument', 'auth_token is the older spelling of join_params.token_name: keep one')
  const address = flags.authServer ?? file.proxy_server ?? file.auth_server
  if (address === undefined) return undefined
  const caPins = flags.caPin === undefined ? [file.ca_pin ?? []].flat() : flags.caPin.split(',').map(parsePin)
  const reach = (proxy: ProxyAddress): ProxyAddress => {
    const httpProxy = findHttpProxy(proxy, env)
    const open = (file.via_websocket ?? httpProxy !== undefined) ? webSocketTo(proxy, httpProxy) : undefined
    return { ...proxy, ...(open && { open }) }
  }
  return { proxy: reach(parseProxyAddress(address)), reach, caPins, join: sourceOf(file, flags.token) }
}

function sourceOf({ join_params, auth_token }: z.output<typeof fieldsSchema>, flag: string | undefined): JoinSource | undefined {
  const { token_name, ...params } = join_params ?? { method: 'token' as const }
  const token = flag ?? token_name ?? auth_token
  return token === undefined ? undefined : { ...params, token }
}

/** What is in between sees an encrypted stream: the proxy is verified by the TLS within it, and shown our certificate. */
function webSocketTo(proxy: ProxyAddress, httpProxy: URL | undefined): ProxyAddress['open'] {
  const url = new URL(`wss://${renderProxyAddress(proxy)}`)
  return (signal) => dialWebSocket({ url, proxy: httpProxy, signal, tls: { rejectUnauthorized: false } })
}

/** `HTTPS_PROXY`, unless `NO_PROXY` names the host or a domain of it (`*` all of them). */
function findHttpProxy({ host }: ProxyAddress, env: Environment): URL | undefined {
  const text = env['HTTPS_PROXY'] || env['https_proxy']
  if (!text) return undefined
  const excepted = (env['NO_PROXY'] || env['no_proxy'] || '').split(',').map((name) => name.trim().replace(/^\*?\./, ''))
  if (excepted.some((name) => name === '*' || (name !== '' && (host === name || host.endsWith(`.${name}`))))) return undefined
  const url = URL.parse(/^https?:\/\//i.test(text) ? text : `http://${text}`)
  if (!url) throw new AppError('invalid_argument', 'HTTPS_PROXY is no URL: write http://HOST:PORT')
  return url
}

function parsePin(text: string): string {
  const parsed = pin.safeParse(text.trim())
  if (!parsed.success) throw new AppError('invalid_argument', `--ca-pin ${parsed.error.issues[0]?.message}`)
  return parsed.data
}

/** What proves this host, its files and variables read now; undefined where nothing is configured. */
export async function readProof({ join }: Membership, env: Environment): Promise<ReadSource | undefined> {
  return join && (await readJoinSource(join, env))
}
