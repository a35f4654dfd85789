import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** As much of GitHub as a sign-in needs: OAuth with PKCE, the user, and teams in pages of two. */
export interface FakeGithub {
  url: string
  /** Who sits at the browser. */
  user: { id: number; login: string }
  teams: { organization: string; slug: string }[]
  /** Where the next page is, instead of where it is. */
  nextPage: string | undefined
  seen: string[]
  close(): Promise<void>
}

export const GITHUB_CLIENT = { client_id: 'gh-client', client_secret: 'a secret of the connector, for tests' }
const TOKEN = 'gho_token-of-the-test'
const PAGE = 2

export async function startGithub(): Promise<FakeGithub> {
  const codes = new Map<string, { challenge: string; redirectUri: string }>()
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', github.url)
    github.seen.push(url.pathname)
    const work = {
      '/login/oauth/authorize': authorize,
      '/login/oauth/access_token': exchange,
      '/api/v3/user': user,
      '/api/v3/user/teams': teams,
    }[url.pathname]
    if (!work) return void response.writeHead(404).end()
    void work(url, response, request)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const github: FakeGithub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens
    user: { id: 1, login: 'octocat' },
    teams: [],
    nextPage: undefined,
    seen: [],
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  return github

  function authorize(url: URL, response: ServerResponse): void {
    const code = `code-${codes.size}`
    codes.set(code, { challenge: url.searchParams.get('code_challenge') ?? '', redirectUri: url.searchParams.get('redirect_uri') ?? '' })
    const back = new URL(url.searchParams.get('redirect_uri') ?? '')
    back.searchParams.set('code', code)
    back.searchParams.set('state', url.searchParams.get('state') ?? '')
    response.writeHead(302, { location: back.href }).end()
  }

  async function exchange(_: URL, response: ServerResponse, request: IncomingMessage): Promise<void> {
    const form = new URLSearchParams(Buffer.concat(await request.toArray()).toString())
    const known = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    const isRight =
      known?.challenge === challenge &&
      known.redirectUri === form.get('redirect_uri') &&
      form.get('client_secret') === GITHUB_CLIENT.client_secret
    // With 200, as GitHub does.
    answer(response, isRight ? { access_token: TOKEN, token_type: 'bearer', scope: 'read:org' } : { error: 'bad_verification_code' })
  }

  function user(_: URL, response: ServerResponse, { headers }: IncomingMessage): void {
    if (headers.authorization !== `Bearer ${TOKEN}`) return void response.writeHead(401).end()
    answer(response, { ...github.user, name: 'somebody' })
  }

  function teams(url: URL, response: ServerResponse): void {
    const page = Number(url.searchParams.get('page') ?? '1')
    const more = github.teams.length > page * PAGE
    const next = github.nextPage ?? `${github.url}/api/v3/user/teams?per_page=${PAGE}&page=${page + 1}`
    if (more) response.setHeader('link', `<${next}>; rel="next", <${github.url}/last>; rel="last"`)
    const shown = github.teams.slice((page - 1) * PAGE, page * PAGE)
    answer(
      response,
      shown.map(({ organization, slug }) => ({ id: 1, slug, name: slug.toUpperCase(), organization: { login: organization } })),
    )
  }

  function answer(response: ServerResponse, body: unknown): void {
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
  }
}
