import { z } from 'zod'
import { fetchGuarded } from '../../../lib/guarded-fetch.ts'
import type { GuardedFetchOptions } from '../../../lib/guarded-fetch.ts'
import { JWT_BEARER_GRANT } from '../../../resources/oauth-client.ts'
import { applicationTypeOf } from './clients.ts'
import { checkRedirectUri, GRANT_TYPES } from './registration.ts'

/** Fetches what clients publish of themselves: their metadata (client-id metadata documents) and keys. */
export function createDocumentFetch(options: GuardedFetchOptions): (url: string) => Promise<Response> {
  return async (text) => {
    const { status, headers, body } = await fetchGuarded(new URL(text), 'application/json', options)
    const { 'content-encoding': _, 'content-length': __, 'transfer-encoding': ___, ...kept } = headers
    const isJson = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(headers['content-type'] ?? '')
    // What people may put up at a site comes as something else: it does not speak for the site.
    if (status !== 200 || !isJson) return new Response(null, { status: status === 200 || status < 300 ? 502 : status, headers: kept })
    return new Response(narrowed(text, body) ?? new Uint8Array(body), { status, headers: kept })
  }
}

/** An identity provider that vouches for people to a client, by the address of its document, vouches for that too. */
const DOCUMENT_GRANT_TYPES = [...GRANT_TYPES, JWT_BEARER_GRANT]

const documentSchema = z.object({
  client_id: z.string(),
  client_name: z.string().max(200).optional(),
  redirect_uris: z.array(z.string().max(2000)).max(50).default([]),
  grant_types: z.array(z.string()).optional(),
  token_endpoint_auth_method: z.string().optional(),
  jwks: z.unknown().optional(),
  jwks_uri: z.string().optional(),
})

/**
 * Of a client's document what counts here; undefined for a document that is none. Without a word of the client about what it is, its addresses
 * say whether it is a program on somebody's machine. Throws for addresses that no answer is sent to.
 */
function narrowed(url: string, body: Buffer): string | undefined {
  const parsed = documentSchema.safeParse(JSON.parse(body.toString()))
  if (!parsed.success || parsed.data.client_id !== url) return undefined
  const { redirect_uris, grant_types, ...rest } = parsed.data
  const usesBrowser = grant_types?.includes('authorization_code') ?? true
  for (const uri of redirect_uris) checkRedirectUri(uri)
  return JSON.stringify({
    ...rest,
    redirect_uris,
    ...(grant_types && { grant_types: grant_types.filter((type) => DOCUMENT_GRANT_TYPES.includes(type)) }),
    response_types: usesBrowser ? ['code'] : [],
    application_type: applicationTypeOf(redirect_uris),
  })
}
