import { ENDPOINT_HEADER } from '../api/route.ts'
import type { Carrier } from './call.ts'

/** A token that somebody presented, and where. */
export interface PresentedToken {
  token: string
  remoteAddress: string
  /** Path of the MCP endpoint. */
  endpoint: string
}

/** Calls with somebody else's token in place of a credential of one's own. */
export function withToken(carrier: Carrier, { token, remoteAddress, endpoint }: PresentedToken): Carrier {
  return (request) => {
    const headers = { ...request.headers, authorization: `Bearer ${token}`, [ENDPOINT_HEADER]: endpoint }
    return carrier({ ...request, remoteAddress, headers })
  }
}
