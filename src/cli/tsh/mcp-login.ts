import { fetchUpstreamAccounts } from '../../client/upstream-accounts.ts'
import { AppError } from '../../lib/errors.ts'
import { openBrowser } from './browser.ts'
import { type Context, withConnection } from './context.ts'
import { pause } from '../../lib/pause.ts'

const EVERY_MS = 1000
const WAIT_MS = 10 * 60_000

/** The browser does it; this waits until the account is there. */
export async function run(context: Context): Promise<void> {
  const { call, io, now } = context
  const { signal } = new AbortController()
  const name = call.argument('name') ?? ''
  await withConnection(context, async ({ api }) => {
    const find = async () => {
      const { items, page } = await fetchUpstreamAccounts(api)
      return { id: items.find(({ server }) => server === name)?.id, url: page + encodeURIComponent(name) }
    }
    const { id: before, url } = await find()
    io.stderr.write(`Sign in to "${name}" in your browser:\n  ${url}\n`)
    openBrowser(url, { choice: call.text('browser'), env: io.env, platform: process.platform })
    for (const until = now() + WAIT_MS; now() < until;) {
      await pause(EVERY_MS, signal)
      const { id } = await find()
      if (id !== undefined && id !== before) return void io.stdout.write(`You are signed in to MCP server "${name}".\n`)
    }
    throw new AppError('deadline_exceeded', `nobody signed in to "${name}" within ten minutes: run tsh mcp login ${name} again`)
  })
}
