import { setTimeout as wait } from 'node:timers/promises'
import { beginSsoTest, fetchSsoTest } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput, sanitizeTerminal } from '../../lib/output.ts'
import { isConnectorKind } from '../../resources/connector.ts'
import type { Context } from './context.ts'
import { parseResources, readInput } from './documents.ts'

const POLL_MS = 500

/** Ends with what the sign-in came to; an identity provider that refuses, or a person who does not come, is an error. */
export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const { text, fileName } = await readInput(call.argument('file'), io)
  const [written, ...more] = parseResources(text, fileName)
  if (!written || more.length > 0) throw new AppError('invalid_argument', `${fileName} has to hold one connector`)
  const { resource } = written
  const { kind } = resource
  if (!isConnectorKind(kind)) throw new AppError('invalid_argument', `${fileName} holds a ${kind}: only oidc and github are tried out`)
  await withApi(async (api) => {
    const { id, url, expires } = await beginSsoTest(api, kind, resource)
    io.stderr.write(`Open this page in a browser and sign in:\n  ${sanitizeTerminal(url)}\n`)
    let result = await fetchSsoTest(api, id)
    while (result.state === 'waiting') {
      if (now() >= Date.parse(expires) - POLL_MS) throw new AppError('deadline_exceeded', 'nobody signed in: run tctl sso test again')
      await wait(POLL_MS, undefined, { signal: call.signal }).catch(() => {
        throw new AppError('cancelled', 'the test was interrupted')
      })
      result = await fetchSsoTest(api, id)
    }
    const { user, roles = [], missing_roles = [], traits = {} } = result
    if (user !== undefined) io.stdout.write(renderOutput(formatOf(call), { user, roles, missing_roles, traits }, renderText))
    if (result.state === 'failed') throw new AppError('failed_precondition', `the sign-in failed: ${result.error ?? ''}`)
  })
}

function renderText({ user, roles, missing_roles, traits }: Outcome): string {
  const lines = [
    `User:   ${user}`,
    `Roles:  ${roles.join(', ')}`,
    ...(missing_roles.length > 0 ? [`        (not there: ${missing_roles.join(', ')})`] : []),
    'Traits:',
    ...Object.entries(traits).map(([name, values]) => `  ${name}: ${values.join(', ')}`),
    'Nothing was saved.',
  ]
  return `${lines.map(sanitizeTerminal).join('\n')}\n`
}

interface Outcome {
  user: string
  roles: string[]
  missing_roles: string[]
  traits: Record<string, string[]>
}
