import { ENDPOINT_HEADER, PROOF_HEADER } from '../api/route.ts'
import type { Carrier } from './call.ts'

/** A token that somebody presented, and where. */
export interface PresentedToken {
  /** After a space, the thumbprint of the key that its sender proved to hold, if any. */
  token: string
  remoteAddress: string
  /** Path of the MCP endpoint. */
  endpoint: string
}

/** Calls with somebody else's token in place of a credential of one's own. */
export function withToken(carrier: Carrier, { token, remoteAddress, endpoint }: PresentedToken): Carrier {
  const [bearer, thumbprint] = token.split(' ')
  const proof: Record<string, string> = thumbprint === undefined ? {} : { [PROOF_HEADER]: thumbprint }
  return (request) => {
    const headers = { ...request.headers, authorization: `Bearer ${bearer}`, [ENDPOINT_HEADER]: endpoint, ...proof }
    return carrier({ ...request, remoteAddress, headers })
  }
}
