import { describe, expect, test } from 'vitest'
import { checkExpression, evaluateArgumentRule, evaluateLabelsExpression, evaluateWhere } from './predicate.ts'

const identity = { name: 'ana', roles: ['dev'], traits: { team: ['a', 'b'], env: ['prod'] } }
const labels = { env: 'prod', team: 'a' }
const server = { name: 'files', labels }
const args = { n: 4, ratio: 2.5, path: '/srv/x', list: ['aa', 'ab'], flag: true, none: null, nested: { constructor: 'c' } }

const onLabels = (text: string) => evaluateLabelsExpression(text, { labels, identity })
const onArgs = (text: string, given: unknown = args) => evaluateArgumentRule(text, { args: given, user: identity, server })

describe('label expressions that do not hold', () => {
  test.each([
    'labels["env"] == "dev"',
    'labels["nope"] == "prod"',
    '!(labels["env"] == "prod")',
    'labels["env"] == "prod" && labels["team"] == "b"',
    'contains(user.spec.traits["nope"], labels["team"])',
    'contains(user.spec.roles, "editor")',
    'regexp.match(labels["env"], "pro")',
    'regexp.match(labels["env"], "^(dev|stage)$")',
    'has_prefix(labels["env"], "x")',
    'equals(labels["env"], "dev")',
    '"nope" in labels',
  ])('%s', (text) => {
    expect(onLabels(text)).toBe(false)
  })
})

describe('label expressions that hold', () => {
  test.each([
    'labels["env"] == "prod"',
    'labels.env == "prod"',
    'labels["nope"] == ""',
    'labels["env"] == "dev" || labels["team"] == "a"',
    '!contains(user.spec.roles, "editor")',
    'contains(user.spec.traits["team"], labels["team"])',
    'user.spec.traits["team"].contains(labels["team"])',
    'regexp.match(labels["env"], "pr*")',
    'regexp.match(user.spec.traits["team"], "^[bc]$")',
    'contains(regexp.replace(user.spec.traits["team"], "^(.)$", "x-$1"), "x-b")',
    'contains(strings.upper(labels["env"]), "PROD")',
    'has_prefix(labels["env"], "pr")',
    'equals(user.metadata.name, "ana")',
    '"env" in labels',
  ])('%s', (text) => {
    expect(onLabels(text)).toBe(true)
  })
})

describe('expressions that cannot be saved', () => {
  test.each<[string, 'labels' | 'where' | 'argument', string]>([
    ['labels["env"] ==', 'labels', 'is not valid'],
    ['nope == "x"', 'labels', 'Unknown variable: nope'],
    ['args.x == 1', 'labels', 'Unknown variable: args'],
    ['labels["env"] == "x"', 'argument', 'Unknown variable: labels'],
    ['resource.metadata.name == "x"', 'argument', 'Unknown variable: resource'],
    ['system("rm")', 'where', 'no matching overload'],
    ['"text"', 'where', 'it is a string, not a condition'],
    ['has(labels.env)', 'labels', 'has() is not supported here'],
    ['cel.bind(x, 1, x == 1)', 'argument', 'cel.bind is not supported'],
    ['args.a.all(x, args.b.exists(y, x == y))', 'argument', 'inside another list macro'],
    ['args.a.filter(x, args.b.map(y, y) == x) == []', 'argument', 'inside another list macro'],
    ['args.a.matches("(?=x)")', 'argument', 'RE2'],
    ['regexp.match(labels["env"], "^($")', 'labels', 'RE2'],
    [`${'('.repeat(100)}true${')'.repeat(100)}`, 'argument', 'is not valid'],
    [`"${'x'.repeat(4090)}" == "x"`, 'labels', 'longer than 4096 bytes'],
    [`"${'ä'.repeat(2045)}" == "x"`, 'labels', 'longer than 4096 bytes'],
  ])('%s', (text, mode, message) => {
    expect(checkExpression(text, mode)).toContain(message)
  })

  test('a good one has no fault', () => {
    expect(checkExpression('args.path.matches("^/srv/") && size(args.list) < 3', 'argument')).toBeUndefined()
  })
})

describe('argument rules that throw, so that callers deny', () => {
  test.each([
    'args.nope == 1',
    'args["nope"] != "x"',
    'args.constructor == 1',
    'args.__proto__ == 1',
    'args.path',
    'args.path < 5',
    'user.traits["nope"] == ["x"]',
    'server.labels.nope == "x"',
    'equals(args.path, 5)',
    'contains(args.path, "srv")',
    'args.list.matches("a")',
    'args.list[7] == "x"',
    'args.n / 0 == 1',
  ])('%s', (text) => {
    expect(() => onArgs(text)).toThrow(expect.objectContaining({ name: 'AppError' }))
  })

  test.each([
    ['args.path.startsWith("/srv/")', { path: '/srv/x', PATH: '/etc/shadow' }],
    ['args.path.startsWith("/srv/")', { Path: '/etc/shadow', path: '/srv/x' }],
    ['args["path"] == "/srv/x"', { path: '/srv/x', Path: '' }],
    ['!has(args.path) || args.path.startsWith("/srv/")', { Path: '/etc/shadow' }],
    ['!("path" in args) || args.path.startsWith("/srv/")', { Path: '/etc/shadow' }],
    ['args.task == 1', { task: 1, 'tas\u212a': 2 }],
    ['args.to.host == "a"', { to: { host: 'a', hoSt: 'b' } }],
    ['args.all.exists(one, one.host == "a")', { all: [{ host: 'a', 'ho\u017ft': 'b' }] }],
    ['args.exists(name, name == "path" && args[name] == "/srv/x")', { path: '/srv/x', PATH: '/etc/shadow' }],
  ])('%s of %j, which a server may read otherwise', (text, given) => {
    expect(() => onArgs(text, given)).toThrow(expect.objectContaining({ name: 'AppError' }))
  })

  test.each([[null], ['text'], [5], [[1, 2]]])('arguments %j are no object', (given) => {
    expect(() => onArgs('true', given)).toThrow('not an object')
  })

  test('arguments with too many or too deep values', () => {
    let deep: unknown = 1
    for (let i = 0; i < 70; i += 1) deep = [deep]
    expect(() => onArgs('true', { deep })).toThrow('too large')
    expect(() => onArgs('true', { many: Array.from({ length: 10_000 }, () => 1) })).toThrow('too large')
  })

  test('a regex over a huge text is refused', () => {
    expect(() => onArgs('args.s.matches("a")', { s: 'b'.repeat(65_537) })).toThrow('longer than 65536')
  })
})

describe('argument rules', () => {
  test.each<[string, boolean]>([
    ['args.n <= 3', false],
    ['args.path.startsWith("/etc")', false],
    ['has(args.nope)', false],
    ['"nope" in args', false],
    ['args.list.all(x, x == "aa")', false],
    ['args.none == "x"', false],
    ['args.n <= 4', true],
    ['args.n == 4', true],
    ['args.n + 1 == 5', true],
    ['args.ratio < 3', true],
    ['args.flag', true],
    ['args.none == null', true],
    ['!has(args.nope) || args.nope < 3', true],
    ['args.nested.constructor == "c"', true],
    ['args.path.matches("^/srv/")', true],
    ['regexp.match(args.path, "srv")', true],
    ['args.list.exists(x, x.matches("b$"))', true],
    ['user.name == "ana" && "dev" in user.roles && "b" in user.traits.team', true],
    ['server.name == "files" && server.labels.env == "prod"', true],
  ])('%s is %j', (text, expected) => {
    expect(onArgs(text)).toBe(expected)
  })

  test('keys that no rule asks for may differ only in case', () => {
    expect(onArgs('args.n == 4 && args.env.size() == 2', { n: 4, env: { http_proxy: 'a', HTTP_PROXY: 'b' } })).toBe(true)
  })

  test('a call without arguments has none', () => {
    expect(onArgs('"x" in args', undefined)).toBe(false)
    expect(() => evaluateArgumentRule('args.n == 4', { args: undefined, user: identity, server })).toThrow('No such key: n')
  })

  test('regexes run in linear time', { timeout: 10_000 }, () => {
    expect(onArgs('args.s.matches("^(a+)+$")', { s: `${'a'.repeat(50_000)}b` })).toBe(false)
  })
})

describe('where', () => {
  const resource = { kind: 'app', version: 'v3', metadata: { name: 'files', labels: { team: 'b' } }, spec: {} }

  test('holds for the resource it is about', () => {
    const text = 'contains(user.spec.traits["team"], resource.metadata.labels["team"]) && has_prefix(resource.metadata.name, "fi")'
    expect(evaluateWhere(text, { identity, resource })).toBe(true)
    expect(evaluateWhere(text, { identity: { ...identity, traits: {} }, resource })).toBe(false)
  })

  test('throws without a resource, unless it does not matter', () => {
    expect(() => evaluateWhere('resource.metadata.name == ""', { identity })).toThrow('resource')
    expect(evaluateWhere('contains(user.spec.roles, "dev")', { identity })).toBe(true)
  })
})
