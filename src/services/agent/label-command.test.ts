import { expect, test } from 'vitest'
import { createLabelCommand } from './label-command.ts'

const run = createLabelCommand({ PATH: process.env['PATH'], SECRET: 'hidden' })
const node = (script: string) => run([process.execPath, '-e', script])

test('a command that fails, floods, says too much in its first line or does not exist has no result', async () => {
  await expect(node('process.exit(3)')).rejects.toThrow('it ended with 3')
  await expect(node("console.log('x'.repeat(100_000))")).rejects.toThrow('it writes more than 65536 bytes')
  await expect(node("console.log('x'.repeat(300))")).rejects.toThrow('too long for a label')
  await expect(run(['/no/such/command'])).rejects.toThrow('there is no such command')
})

test('the first line counts, trimmed; there is no shell, and nothing of our environment but what a program needs', async () => {
  expect(await node("console.log('  high  \\nlow')")).toBe('high')
  expect(await run([process.execPath, '-e', 'console.log(process.argv[1])', '$(id); *'])).toBe('$(id); *')
  expect(await node("console.log(process.env.SECRET ?? 'none')")).toBe('none')
})
