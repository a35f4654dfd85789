import { mkdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { describeSystemError } from './system-error.ts'

const thrownBy = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )

it('leaves alone what is no error of a file system', () => {
  expect(describeSystemError(new Error('x'))).toBeUndefined()
  expect(describeSystemError('EACCES')).toBeUndefined()
  expect(describeSystemError(Object.assign(new Error('x'), { code: 'ECONNRESET' }))).toBeUndefined()
  expect(describeSystemError(Object.assign(new Error('x'), { code: 'EACCES', syscall: 'listen' }))).toBeUndefined()
  expect(describeSystemError(Object.assign(new Error('x'), { code: 'constructor', path: '/x' }))).toBeUndefined()
})

it('says what was wrong, where, and what to do', async () => {
  expect(describeSystemError(await thrownBy(readFile('/nonexistent/file')))).toMatchObject({
    code: 'failed_precondition',
    message: 'cannot open /nonexistent/file: it does not exist',
    details: { fix: ['check the path'] },
  })
  expect(describeSystemError(await thrownBy(mkdir('/etc/passwd/x')))).toMatchObject({
    message: 'cannot make the directory /etc/passwd/x: a part of the path is no directory',
  })
  const refused = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES', syscall: 'mkdir', path: '/root/x' })
  expect(describeSystemError(refused)).toMatchObject({
    message: 'cannot make the directory /root/x: this account may not do that there',
    details: { fix: ['choose another place, or run this as an account that may'] },
  })
  expect(describeSystemError(Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' }))).toMatchObject({
    message: 'the disk is full',
  })
})
