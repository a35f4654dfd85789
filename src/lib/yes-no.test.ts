import { expect, test } from 'vitest'
import { yesNoSchema } from './yes-no.ts'

test.each([1, 'y', 'maybe', '', null, 'true'])('%j is no boolean of a configuration file', (value) => {
  expect(yesNoSchema.safeParse(value).success).toBe(false)
})

test.each([
  [true, true],
  [false, false],
  ['yes', true],
  ['on', true],
  ['no', false],
  ['off', false],
] as const)('%j means %j', (written, meant) => {
  expect(yesNoSchema.parse(written)).toBe(meant)
})
