import { AppError } from '../../../lib/errors.ts'

const MAX_TEXT = 2000

/**
 * What the database said in an ErrorResponse: its message, detail, hint and SQLSTATE (protocol 3.0, "Error and Notice Message Fields").
 * `failed_precondition` of origin upstream, with `details.sqlstate`.
 */
export function readServerError(body: Buffer | undefined): AppError {
  const fields = new Map<string, string>()
  for (const text of (body?.toString('utf8') ?? '').split('\0')) if (text) fields.set(text.slice(0, 1), text.slice(1))
  const sqlstate = fields.get('C') ?? ''
  const lines = [`${fields.get('S') ?? 'ERROR'}: ${fields.get('M') ?? 'the database refused'}${sqlstate ? ` (SQLSTATE ${sqlstate})` : ''}`]
  if (fields.has('D')) lines.push(`DETAIL: ${fields.get('D')}`)
  if (fields.has('H')) lines.push(`HINT: ${fields.get('H')}`)
  if (fields.has('P')) lines.push(`POSITION: ${fields.get('P')}`)
  return new AppError('failed_precondition', lines.join('\n').slice(0, MAX_TEXT), { origin: 'upstream', details: { sqlstate } })
}
