import { expect, it } from 'vitest'
import { AppError } from './errors.ts'
import { createLogger, silentLogger } from './log.ts'
import type { LoggerOptions } from './log.ts'

it('writes no secret, wherever it stands', () => {
  const { log, lines } = record({ redact: (text) => text.replaceAll('hunter2', '<REDACTED>') })
  const error = new AppError('internal', 'hunter2', { cause: new Error('at hunter2'), details: { password: 'hunter2' } })
  log.error('said hunter2', { deep: { list: [{ hunter2: 'hunter2' }] }, error })
  expect(JSON.stringify(lines())).not.toContain('hunter2')
  expect(lines()[0]).toMatchObject({
    message: 'said <REDACTED>',
    deep: { list: [{ '<REDACTED>': '<REDACTED>' }] },
    error: { code: 'internal', cause: { message: 'at <REDACTED>' } },
  })
})

it('writes nothing below its level, and never from silence', () => {
  const { log, lines } = record({ level: 'warn' })
  log.debug('a')
  log.info('b')
  silentLogger.error('c')
  expect(lines()).toEqual([])
})

it('has level labels, ISO time and the fields beside the message', () => {
  const { log, lines } = record({ level: 'debug' })
  log.debug('d')
  log.warn('w', { server: 'everything', count: 2, none: undefined, big: 10n, bytes: new Uint8Array(3) })
  expect(lines()).toEqual([
    { level: 'debug', time: '2027-01-31T12:00:00.000Z', message: 'd' },
    { level: 'warn', time: '2027-01-31T12:00:00.000Z', message: 'w', server: 'everything', count: 2, big: '10', bytes: '[3 bytes]' },
  ])
})

it('lets no field forge what the line itself says', () => {
  const { log, lines, raw } = record({})
  log.info('true', { message: 'false', level: 'error', time: 'never', text: 'a\n{"level":"error"}' })
  expect(lines()).toEqual([
    {
      level: 'info',
      time: '2027-01-31T12:00:00.000Z',
      message: 'true',
      message_: 'false',
      level_: 'error',
      time_: 'never',
      text: 'a\n{"level":"error"}',
    },
  ])
  expect(raw().match(/"message":/g)).toHaveLength(1)
})

it('keeps the stack of an error for lines that are errors, and for debugging', () => {
  const error = new AppError('unavailable', 'nothing listens', { cause: new Error('ECONNREFUSED') })
  const [usual, debugging] = [record({}), record({ level: 'debug' })]
  usual.log.warn('trying again', { error })
  usual.log.error('gave up', { error })
  debugging.log.warn('trying again', { error })
  expect(usual.lines()[0]).toMatchObject({ error: { message: 'nothing listens', cause: { message: 'ECONNREFUSED' } } })
  expect(JSON.stringify(usual.lines()[0])).not.toContain('"stack"')
  expect(JSON.stringify(usual.lines()[1])).toContain('"stack"')
  expect(JSON.stringify(debugging.lines()[0])).toContain('"stack"')
})

it('survives circles and depth', () => {
  const { log, lines } = record({})
  const circle: Record<string, unknown> = {}
  circle['self'] = circle
  log.info('round', { circle })
  expect(JSON.stringify(lines())).toContain('[too deep]')
})

function record(options: LoggerOptions) {
  const written: string[] = []
  const log = createLogger({
    now: () => Date.UTC(2027, 0, 31, 12),
    stream: { write: (line: string) => void written.push(line) },
    ...options,
  })
  return { log, raw: () => written.join(''), lines: (): unknown[] => written.map((line) => JSON.parse(line)) }
}
