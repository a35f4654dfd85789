import { describe, expect, test } from 'vitest'
import type { Role } from '../resources/role.ts'
import { accessOf, all, allTools, role } from './check.fixture.ts'

describe('argument rules', () => {
  const ruled = (where: string, tools = ['query']) => role('a', { allow: { ...all, mcp: { tools: ['*'], rules: [{ tools, where }] } } })

  test.each<[string, string, unknown]>([
    ['that do not hold', 'args.limit <= 10', { limit: 11 }],
    ['over a missing key', 'args.limit <= 10', {}],
    ['over no arguments at all', 'args.limit <= 10', undefined],
    ['over arguments that are no object', 'true', [1]],
    ['that are no boolean', 'args.limit', { limit: 1 }],
    ['that do not parse', 'args.', { limit: 1 }],
  ])('%s do not grant', (_name, where, args) => {
    expect(accessOf([ruled(where)]).check('tool', 'query', args)).toMatchObject({
      kind: 'no_argument_rule',
      by: null,
      reason: 'access to tool "query" of MCP server "files" denied: no role allows it with these arguments; ask your administrator',
    })
  })

  test('all that speak of the tool have to hold', () => {
    const two = role('a', {
      allow: {
        ...all,
        mcp: {
          tools: ['*'],
          rules: [
            { tools: ['q*'], where: 'args.a == 1' },
            { tools: ['query'], where: 'args.b == 1' },
          ],
        },
      },
    })
    expect(accessOf([two]).check('tool', 'query', { a: 1, b: 2 })).toMatchObject({ kind: 'no_argument_rule' })
    expect(accessOf([two]).check('tool', 'query', { a: 1, b: 1 })).toEqual({ allow: true, by: 'a' })
  })

  test('a rule whose pattern is bad might speak of the tool, so its role does not grant', () => {
    expect(accessOf([ruled('true', ['^($'])]).check('tool', 'query', {})).toMatchObject({ kind: 'no_argument_rule' })
  })

  test('bind the role they stand in only', () => {
    expect(accessOf([ruled('args.limit <= 10'), role('b', { allow: allTools })]).check('tool', 'query', { limit: 99 })).toEqual({
      allow: true,
      by: 'b',
    })
  })

  test('speak of other tools or hold', () => {
    expect(accessOf([ruled('false')]).check('tool', 'other', {})).toEqual({ allow: true, by: 'a' })
    expect(
      accessOf([ruled('args.limit <= 10 && user.name == "ana" && server.labels.env == "prod"')]).check('tool', 'query', { limit: 10 }),
    ).toEqual({ allow: true, by: 'a' })
  })

  test('are left aside when the question is whether the tool is seen', () => {
    expect(accessOf([ruled('false')]).check('tool', 'query')).toEqual({ allow: true, by: 'a' })
  })

  test.each<[string, string, unknown, boolean]>([
    ['holds', 'args.path.startsWith("/etc")', { path: '/etc/shadow' }, false],
    ['cannot be evaluated', 'args.path.startsWith("/etc")', {}, false],
    ['does not hold', 'args.path.startsWith("/etc")', { path: '/srv' }, true],
  ])('in deny: one that %s', (_name, where, args, allow) => {
    const denying = role('b', { deny: { mcp: { rules: [{ tools: ['read_*'], where }] } } })
    expect(accessOf([role('a', { allow: allTools }), denying]).check('tool', 'read_file', args).allow).toBe(allow)
    expect(accessOf([role('a', { allow: allTools }), denying]).check('tool', 'read_file').allow).toBe(true)
  })

  test('remembering a tool does not remember the outcome of its arguments', () => {
    const access = accessOf([ruled('args.limit <= 10')])
    expect(access.check('tool', 'query', { limit: 1 }).allow).toBe(true)
    expect(access.check('tool', 'query', { limit: 11 }).allow).toBe(false)
    expect(access.check('tool', 'query').allow).toBe(true)
  })
})

describe('second factor', () => {
  const strict = role('strict', { options: { require_session_mfa: true }, allow: { ...all, mcp: { tools: ['a', 'both'] } } })
  const lax = role('lax', { allow: { ...all, mcp: { tools: ['b', 'both'] } } })

  test.each<[string, Role[], boolean, string, boolean]>([
    ['the cluster requires it', [lax], true, 'b', false],
    ['every role requires it', [strict], false, 'nothing', false],
    ['the granting role requires it', [strict, lax], false, 'a', false],
    ['one of the granting roles requires it', [lax, strict], false, 'both', false],
    ['only a role that does not grant requires it', [strict, lax], false, 'b', true],
  ])('%s', (_name, roles, requireMfa, tool, allow) => {
    expect(accessOf(roles, {}, { requireMfa }).check('tool', tool).allow).toBe(allow)
    if (!allow) expect(accessOf(roles, {}, { requireMfa }).check('tool', tool)).toMatchObject({ kind: 'mfa_required' })
  })

  test.each(['yes', 'hardware_key', 'hardware_key_touch'])('%s asks for one', (mode) => {
    expect(accessOf([role('a', { options: { require_session_mfa: mode }, allow: all })]).decision).toMatchObject({ kind: 'mfa_required' })
  })

  test('comes before deny rules; once given, they decide', () => {
    const denying = role('b', { options: { require_session_mfa: 'yes' }, deny: all })
    expect(accessOf([denying]).decision).toMatchObject({ kind: 'mfa_required' })
    expect(accessOf([denying], {}, { mfaVerified: true }).decision).toMatchObject({ kind: 'deny_rule' })
  })

  test('given once is enough, and bots cannot give one', () => {
    expect(accessOf([strict], {}, { mfaVerified: true, requireMfa: true }).check('tool', 'a')).toEqual({ allow: true, by: 'strict' })
    expect(accessOf([strict], { kind: 'bot' }, { requireMfa: true }).check('tool', 'a')).toEqual({ allow: true, by: 'strict' })
  })

  test('is asked for by the roles that grant these very arguments', () => {
    const ruled = role('ruled', {
      options: { require_session_mfa: true },
      allow: { ...all, mcp: { tools: ['b'], rules: [{ tools: ['b'], where: 'args.n > 5' }] } },
    })
    expect(accessOf([ruled, lax]).check('tool', 'b', { n: 9 })).toMatchObject({ kind: 'mfa_required', by: 'ruled' })
    expect(accessOf([ruled, lax]).check('tool', 'b', { n: 1 })).toEqual({ allow: true, by: 'lax' })
  })
})
