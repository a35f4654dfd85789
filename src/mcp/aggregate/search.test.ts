import { expect, test } from 'vitest'
import type { Entry } from './catalogue.ts'
import { rankTools, renderFound } from './search.ts'

const entry = (exposed: string, description = '', more = {}): Entry => ({
  server: exposed.split('_')[0] ?? '',
  original: exposed,
  exposed,
  item: { name: exposed, description, inputSchema: { type: 'object' }, ...more },
})
const catalogue = [
  entry('github_create_issue', 'Opens an issue in a repository'),
  entry('github_listPullRequests', 'Lists pull requests'),
  entry('jira_create_ticket', 'Creates a ticket, which others call an issue'),
  entry('mail_send', 'Sends a message', { title: 'Send mail' }),
]
const found = (query: string) => rankTools(catalogue, query).map(({ exposed }) => exposed)

test.each([
  ['create issue', ['github_create_issue', 'jira_create_ticket']],
  ['ISSUE', ['github_create_issue', 'jira_create_ticket']],
  ['pull request', ['github_listPullRequests']],
  ['mail', ['mail_send']],
  ['nothing of the kind', []],
  ['***', ['github_create_issue', 'github_listPullRequests', 'jira_create_ticket', 'mail_send']],
])('%j finds %j', (query, names) => {
  expect(found(query)).toEqual(names)
})

test('the result is bounded in number and size, and says when it may not be all', () => {
  const many = Array.from({ length: 100 }, (_, each) => entry(`s_t${each}`, 'x'.repeat(9000)))
  const count = (args: unknown) => JSON.parse(renderFound(many, args, true)).structuredContent.tools.length
  expect([
    count({ query: '' }),
    count({ query: '', limit: 3 }),
    count({ query: '', limit: 50 }),
    count({ query: '', limit: 'x' }),
    count(null),
  ]).toEqual([8, 3, 11, 8, 8])
  const partial = JSON.parse(renderFound(catalogue, { query: 'mail' }, false))
  expect(JSON.parse(partial.content[0].text)).toEqual(partial.structuredContent)
  expect(partial.structuredContent).toEqual({
    tools: [{ name: 'mail_send', server: 'mail', title: 'Send mail', description: 'Sends a message', inputSchema: { type: 'object' } }],
    note: 'some servers did not answer: their tools may be missing',
  })
})

test('a server with very much to say costs little', () => {
  const description = Array.from({ length: 2000 }, (_, at) => (at * 7919).toString(36)).join(' ')
  const many = Array.from({ length: 5000 }, (_, at) => entry(`t${at}`, `${at} ${description}`))
  const query = `${Array.from({ length: 12 }, (_, at) => `zz${at}`).join(' ')} issue`
  const started = performance.now()
  expect(rankTools([...many, entry('issue', 'x')], query).map(({ exposed }) => exposed)).toEqual(['issue'])
  expect(performance.now() - started).toBeLessThan(10_000)
})
