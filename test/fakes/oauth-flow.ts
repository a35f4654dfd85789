import { createHash } from 'node:crypto'
import type { Cluster } from '../cluster.ts'
import { PlainBrowser } from './plain-browser.ts'

export const REDIRECT = 'http://127.0.0.1:7777/callback'
const VERIFIER = 'verifier-of-the-test-verifier-of-the-test-verifier'

export interface Tokens {
  status: number
  access_token: string
  refresh_token: string
  error: string
  error_description: string
  scope: string
  expires_in: number
  [member: string]: unknown
}

/** The steps of OAuth one by one, as a client of our own takes them, so that each can go wrong. */
export class OAuthFlow {
  readonly cluster: Pick<Cluster, 'url'>
  clientId = ''
  readonly browser = new PlainBrowser()
  readonly verifier = VERIFIER

  constructor(cluster: Pick<Cluster, 'url'>) {
    this.cluster = cluster
  }

  /** Registers with this metadata and keeps the id. */
  async register(metadata: Record<string, unknown> = {}): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`${this.cluster.url}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ client_name: 'Flow', redirect_uris: [REDIRECT], ...metadata }),
    })
    const body = parseObject(await response.text())
    if (typeof body['client_id'] === 'string') this.clientId = body['client_id']
    return { status: response.status, body }
  }

  /** Where the browser begins; a parameter of null is left out. */
  authorizeUrl(changes: Record<string, string | null> = {}): URL {
    const url = new URL('/oauth/authorize', this.cluster.url)
    const parameters = {
      response_type: 'code',
      client_id: this.clientId,
      redirect_uri: REDIRECT,
      state: 'a state',
      scope: 'mcp',
      resource: `${this.cluster.url}/mcp/apps/everything`,
      code_challenge: createHash('sha256').update(VERIFIER).digest('base64url'),
      code_challenge_method: 'S256',
      ...changes,
    }
    for (const [name, value] of Object.entries(parameters)) if (value !== null) url.searchParams.set(name, value)
    return url
  }

  /** A code that a person allowed. */
  async code(user: string, changes: Record<string, string | null> = {}): Promise<string> {
    const back = await this.browser.allow(this.authorizeUrl(changes), user)
    return back.searchParams.get('code') ?? ''
  }

  async exchange(code: string, changes: Record<string, string | null> = {}): Promise<Tokens> {
    return this.token({ grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: VERIFIER, ...changes })
  }

  async refresh(refreshToken: string, changes: Record<string, string | null> = {}): Promise<Tokens> {
    return this.token({ grant_type: 'refresh_token', refresh_token: refreshToken, ...changes })
  }

  async token(parameters: Record<string, string | null>): Promise<Tokens> {
    const body = new URLSearchParams({ client_id: this.clientId })
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null) body.delete(name)
      else body.set(name, value)
    }
    const response = await fetch(`${this.cluster.url}/oauth/token`, { method: 'POST', body })
    return { status: response.status, ...parseObject(await response.text()) } as Tokens // tests compare what they find with literals
  }

  /** Registers, signs in, allows and gets tokens. */
  async signIn(user: string, changes: Record<string, string | null> = {}): Promise<Tokens> {
    if (this.clientId === '') await this.register()
    return this.exchange(await this.code(user, changes))
  }

  /** How an MCP endpoint answers to this token. */
  async call(path: string, token: string | undefined): Promise<{ status: number; challenge: string | null; text: string }> {
    const response = await fetch(new URL(path, this.cluster.url), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'flow', version: '1' } },
      }),
    })
    return { status: response.status, challenge: response.headers.get('www-authenticate'), text: await response.text() }
  }
}

function parseObject(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new Error(`no object: ${text}`)
  return { ...value }
}
