import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { pause } from '../../lib/pause.ts'
import type { Context } from './context.ts'

const POLL_MS = 250
const ANSWER_MS = 5000

export async function run({ call, io }: Context): Promise<void> {
  const url = readyUrl(call.text('diag-addr') ?? '', call.text('service'))
  const timeoutMs = parseDuration(call.text('timeout') ?? '5m')
  const now = io.now ?? Date.now
  const end = now() + timeoutMs
  for (let said = ''; ;) {
    const answer = await ask(url)
    if (answer.ready) return
    said = answer.said
    if (call.signal.aborted) throw new AppError('cancelled', 'interrupted')
    if (now() >= end) throw new AppError('deadline_exceeded', `tbot is not ready after ${timeoutMs / 1000} s: ${said}`)
    await pause(Math.min(POLL_MS, Math.max(1, end - now())), call.signal)
  }
}

async function ask(url: URL): Promise<{ ready: boolean; said: string }> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS), redirect: 'error' })
    const text = (await answer.text()).slice(0, 500)
    if (answer.status === 404) throw new AppError('not_found', `${url.pathname} is not there: ${text}`)
    return { ready: answer.status === 200, said: text }
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    return { ready: false, said: `nothing answers at ${url.host}` }
  }
}

function readyUrl(address: string, service: string | undefined): URL {
  const host = /^\d+$/.test(address) ? `127.0.0.1:${address}` : address.replace(/^:/, '127.0.0.1:')
  const url = URL.parse(`http://${host}/readyz${service === undefined ? '' : `/${encodeURIComponent(service)}`}`)
  if (!url || url.username !== '') throw new AppError('invalid_argument', `--diag-addr is HOST:PORT or a port, not "${address}"`)
  return url
}
