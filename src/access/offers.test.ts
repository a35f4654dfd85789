import { expect, test } from 'vitest'
import { findOfferFault } from './offers.ts'

const CONFIG = { 'teleport.dev/origin': 'config-file' }

test.each([
  ['what nobody registered, with labels out of bounds', { limits: { env: 'dev' }, registered: undefined, offered: { env: 'prod' } }],
  [
    'a registered app out of bounds, whatever the host says',
    { limits: { env: 'dev' }, registered: { env: 'prod' }, offered: { env: 'dev' } },
  ],
  ['what has no labels', { limits: { env: 'dev' }, registered: undefined, offered: {} }],
  ['anything, by bounds without a key', { limits: {}, registered: { env: 'dev' }, offered: { env: 'dev' } }],
  ['anything, by a pattern that nobody can read', { limits: { env: '^[$' }, registered: { env: 'dev' }, offered: { env: 'dev' } }],
  [
    'the name of a resource, by a configuration file with other labels',
    { limits: undefined, registered: { env: 'prod' }, offered: { env: 'dev', ...CONFIG } },
  ],
])('a host may not offer %s', (_, facts) => {
  expect(findOfferFault(facts)).toEqual(expect.any(String))
})

test.each([
  ['anything without bounds', { limits: undefined, registered: undefined, offered: {} }],
  ['anything within wide ones', { limits: { '*': '*' }, registered: undefined, offered: {} }],
  ['what matches', { limits: { env: ['dev', 'stage'] }, registered: { env: 'stage' }, offered: { env: 'stage' } }],
  [
    'a resource with labels that commands say',
    { limits: undefined, registered: { env: 'dev', up: '' }, offered: { env: 'dev', up: 'yes' } },
  ],
  [
    'the same in its configuration file and as a resource',
    { limits: undefined, registered: { env: 'dev', 'teleport.dev/origin': 'dynamic' }, offered: { env: 'dev', ...CONFIG } },
  ],
])('a host may offer %s', (_, facts) => {
  expect(findOfferFault(facts)).toBe(undefined)
})

test('says what is wrong and what to do', () => {
  expect(findOfferFault({ limits: { env: 'dev' }, registered: { env: 'prod', team: 'a' }, offered: {} })).toBe(
    'the join token of this host does not let it serve what has the labels env=prod,team=a',
  )
  expect(findOfferFault({ limits: undefined, registered: {}, offered: { env: 'dev', ...CONFIG } })).toBe(
    'its name is that of a resource with the labels (none), and what the configuration file of this agent has is env=dev: give it another name',
  )
})
