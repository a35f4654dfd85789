import { expect, test } from 'vitest'
import { findMethod, METHODS, NOTIFICATIONS, resemblesKnown } from './methods.ts'

test.each(['', 'tools/call ', 'Tools/Call', 'tools/call2', 'toString', '__proto__', 'constructor', 'notifications/initialized'])(
  '%j is no request',
  (method) => {
    expect(findMethod(method)).toBeUndefined()
  },
)

test('what cannot be read is judged as the empty name, which only a rule for everything allows', () => {
  expect(METHODS['tools/call']?.names?.({})).toEqual([{ what: 'tool', name: '', args: {} }])
  expect(METHODS['tools/call']?.names?.({ name: 7, arguments: null })).toEqual([{ what: 'tool', name: '', args: {} }])
  expect(METHODS['prompts/get']?.names?.({ name: ['a'] })).toEqual([{ what: 'prompt', name: '' }])
  expect(METHODS['resources/read']?.names?.({})).toEqual([{ what: 'resource', name: '' }])
  expect(METHODS['completion/complete']?.names?.({})).toEqual([{ what: 'resource', name: '' }])
  expect(METHODS['completion/complete']?.names?.({ ref: { type: 'ref/new', name: 'x' } })).toEqual([{ what: 'resource', name: '' }])
  expect(METHODS['subscriptions/listen']?.names?.({ notifications: { resourceSubscriptions: ['a', 1] } })).toEqual([
    { what: 'resource', name: 'a' },
    { what: 'resource', name: '' },
  ])
})

test('each name a request speaks of is named', () => {
  expect(METHODS['tools/call']?.names?.({ name: 'echo', arguments: { a: 1 } })).toEqual([{ what: 'tool', name: 'echo', args: { a: 1 } }])
  expect(METHODS['completion/complete']?.names?.({ ref: { type: 'ref/prompt', name: 'p' } })).toEqual([{ what: 'prompt', name: 'p' }])
  expect(METHODS['completion/complete']?.names?.({ ref: { type: 'ref/resource', uri: 'file:///{x}' } })).toEqual([
    { what: 'resource', name: 'file:///{x}' },
  ])
  expect(METHODS['subscriptions/listen']?.names?.({})).toEqual([])
})

test('lists and pings are recorded only when they fail', () => {
  const quiet = Object.keys(METHODS).filter((method) => METHODS[method]?.audit === 'on-error')
  expect(quiet.toSorted()).toEqual([
    'ping',
    'prompts/list',
    'resources/list',
    'resources/templates/list',
    'server/discover',
    'skills/list',
    'tools/list',
  ])
})

test('every list of the protocol is filtered', () => {
  const lists = Object.entries(METHODS).flatMap(([method, { lists }]) => (lists ? [`${method} ${lists.what} ${lists.in} ${lists.by}`] : []))
  expect(lists).toEqual([
    'tools/list tool tools name',
    'prompts/list prompt prompts name',
    'resources/list resource resources uri',
    'resources/templates/list resource resourceTemplates uriTemplate',
    'skills/list resource skills uri',
    'resources/directory/read resource resources uri',
  ])
})

test.each([
  'tools/call',
  'Tools/Call',
  'tools//call',
  ' tools/call ',
  'tools.call',
  'ｔools/call',
  'tools/call2',
  'NOTIFICATIONS/initialized',
])('%j is no name of a method that may pass unread', (method) => {
  expect(resemblesKnown(method)).toBe(true)
})

test.each(['acme/tools/call', 'acme/run', 'notifications/acme', '', '日本'])('%j resembles no known method', (method) => {
  expect(resemblesKnown(method)).toBe(false)
})

test('no notification of the server is one of a client', () => {
  expect(NOTIFICATIONS.has('notifications/tools/list_changed')).toBe(false)
  expect(NOTIFICATIONS.has('notifications/message')).toBe(false)
})
