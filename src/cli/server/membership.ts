import { readFile } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { JoinProof } from '../../client/join.ts'
import { parseProxyAddress, type ProxyAddress } from '../../client/proxy-address.ts'
import { AppError } from '../../lib/errors.ts'

const METHODS = ['token'] as const

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
      token_name: z.string().min(1).describe('The join token, or the absolute path of a file with it.'),
      method: z.enum(METHODS).default('token').describe('How this host proves that it may join.'),
    })
    .optional()
    .describe('How this host joins the cluster. Needed for the first time, and after its certificate has expired.'),
  ca_pin: z
    .union([pin, z.array(pin).min(1)])
    .optional()
    .describe(
      'Of the certificate authority of the cluster, as tctl status shows it; needed unless a known authority vouches for the proxy.',
    ),
}

const fieldsSchema = z.object(membershipFields)

/** The cluster that this host belongs to, where it is not the one of its own Auth Service. */
export interface Membership {
  proxy: ProxyAddress
  caPins: string[]
  /** A token, or the absolute path of a file with one. */
  token: string | undefined
}

/** Given on the command line: they win over the file. */
export interface MembershipFlags {
  token?: string | undefined
  caPin?: string | undefined
  authServer?: string | undefined
}

/** @throws AppError invalid_argument for two names of one thing, or an address that is none. */
export function findMembership(file: z.output<typeof fieldsSchema>, flags: MembershipFlags): Membership | undefined {
  if (file.proxy_server !== undefined && file.auth_server !== undefined)
    throw new AppError('invalid_argument', 'auth_server is another name for proxy_server: keep one')
  if (file.auth_token !== undefined && file.join_params)
    throw new AppError('invalid_argument', 'auth_token is the older spelling of join_params.token_name: keep one')
  const address = flags.authServer ?? file.proxy_server ?? file.auth_server
  if (address === undefined) return undefined
  const caPins = flags.caPin === undefined ? [file.ca_pin ?? []].flat() : flags.caPin.split(',').map(parsePin)
  return { proxy: parseProxyAddress(address), caPins, token: flags.token ?? file.join_params?.token_name ?? file.auth_token }
}

function parsePin(text: string): string {
  const parsed = pin.safeParse(text.trim())
  if (!parsed.success) throw new AppError('invalid_argument', `--ca-pin ${parsed.error.issues[0]?.message}`)
  return parsed.data
}

/** The proof to join with, its file read now; undefined where no token is configured. */
export async function readProof({ token }: Membership): Promise<JoinProof | undefined> {
  if (token === undefined) return undefined
  if (!isAbsolute(token)) return { method: 'token', token }
  const text = await readFile(token, 'utf8').catch((cause: unknown) => {
    throw new AppError(
      'failed_precondition',
      `cannot read the join token from ${token}: check that the file is there and who may read it`,
      { cause },
    )
  })
  return { method: 'token', token: text.trim() }
}
