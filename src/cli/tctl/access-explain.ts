import { explain } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const args = call.text('args')
  const explanation = await withApi((api) =>
    explain(api, {
      user: call.text('user') ?? '',
      server: call.text('server') ?? '',
      ...(call.text('tool') === undefined ? {} : { tool: call.text('tool') }),
      ...(call.text('method') === undefined ? {} : { method: call.text('method') }),
      ...(args === undefined ? {} : { args: parseJson(args) }),
    }),
  )
  io.stdout.write(
    renderOutput(formatOf(call), explanation, ({ allow, reason, by, steps }) => {
      const table =
        steps.length === 0
          ? ''
          : `\n\n${renderTable(
              ['Subject', 'Name', 'Verdict', 'Detail'],
              steps.map((step) => [step.subject, step.name, step.verdict, step.detail]),
              io,
            )}`
      return `${allow ? 'ALLOWED' : 'DENIED'}: ${reason}${by === null || reason === `allowed by ${by}` ? '' : ` (by ${by})`}${table}`
    }),
  )
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_argument', `--args is not JSON: ${text}`, { cause })
  }
}
