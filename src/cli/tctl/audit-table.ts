import { renderTable, type Screen } from '../../lib/table.ts'

const HEADERS = ['Time', 'Event', 'Code', 'User', 'Server', 'Tool', 'Outcome', 'Reason']

export type AuditRecord = Record<string, unknown>

/** An event line as an object. */
export function parseLine(line: string): AuditRecord {
  const value: unknown = JSON.parse(line)
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

export function renderEvents(events: readonly AuditRecord[], screen: Screen): string {
  return renderTable(HEADERS, events.map(cells), screen)
}

/** One event on one line, for output that goes on. */
export function renderEvent(event: AuditRecord): string {
  return cells(event)
    .filter((cell) => cell !== '')
    .join('  ')
}

function cells(event: AuditRecord): string[] {
  return [
    word(event, 'time'),
    word(event, 'event'),
    word(event, 'code'),
    word(event, 'user'),
    word(event, 'server') || word(event, 'app_name'),
    toolOf(event),
    word(event, 'outcome'),
    reasonOf(event),
  ]
}

/** Of what was refused or failed. */
function reasonOf(event: AuditRecord): string {
  const refusal = member(event['decision'], 'allow') === false ? member(event['decision'], 'reason') : undefined
  return (typeof refusal === 'string' && refusal) || word(event, 'error') || word(event, 'reason')
}

function toolOf(event: AuditRecord): string {
  const name = member(member(event['message'], 'params'), 'name')
  return word(event, 'tool') || (typeof name === 'string' ? name : '')
}

function word(event: AuditRecord, name: string): string {
  const value = event[name]
  return typeof value === 'string' ? value : ''
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined
}
