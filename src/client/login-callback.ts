import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import { AppError } from '../lib/errors.ts'

/** The loopback end of a sign-in in the browser. */
export interface CallbackListener {
  redirectUri: string
  /** The code the browser brings for this sign-in; `deadline_exceeded` when it never comes. */
  waitForCode(loginId: string): Promise<string>
  close(): void
}

/** Listens on a free port of 127.0.0.1 until closed. */
export async function startCallbackListener({ timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal }): Promise<CallbackListener> {
  const arrived = Promise.withResolvers<string>()
  arrived.promise.catch(() => {}) // a failure before waitForCode is asked for is reported there
  let expected: string | undefined
  const server = createServer({ maxHeaderSize: 16_384 }, (request, response) => {
    // Any page and any program of this machine can ask here, with whatever path.
    const url = URL.parse(request.url ?? '/', 'http://127.0.0.1')
    if (request.method !== 'GET' || url?.pathname !== '/callback') return answer(response, 404, 'Nothing is here.')
    const code = url.searchParams.get('code')
    if (expected === undefined || url.searchParams.get('login_id') !== expected)
      return answer(response, 400, 'This is not the sign-in that was started here. Run tsh login again.')
    if (!code) {
      answer(response, 400, 'The sign-in failed. The terminal says more.')
      return arrived.reject(
        new AppError('permission_denied', `the sign-in was refused: ${url.searchParams.get('error') ?? 'the browser brought no code'}`),
      )
    }
    answer(response, 200, 'You are signed in. Close this page and go back to the terminal.')
    arrived.resolve(code)
  })
  await new Promise<void>((fulfil, reject) => {
    server.on('error', (cause) =>
      reject(new AppError('failed_precondition', 'cannot listen on 127.0.0.1 for the browser: use --auth=local', { cause })),
    )
    server.listen(0, '127.0.0.1', fulfil)
  })
  const late = new AppError(
    'deadline_exceeded',
    `nobody signed in within ${Math.round(timeoutMs / 1000)} s: run tsh login again, or use --auth=local`,
  )
  const timer = setTimeout(() => arrived.reject(late), timeoutMs)
  signal?.addEventListener('abort', () => arrived.reject(new AppError('cancelled', 'the sign-in was cancelled')), { once: true })
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    redirectUri: `http://127.0.0.1:${port}/callback`,
    waitForCode(loginId) {
      expected = loginId
      return arrived.promise
    },
    close() {
      clearTimeout(timer)
      server.close()
      server.closeAllConnections()
    },
  }
}

function answer(response: ServerResponse, status: number, sentence: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    connection: 'close',
  })
  response.end(`<!doctype html><html lang="en"><title>Sallyport</title><p>${sentence}</p></html>`)
}
