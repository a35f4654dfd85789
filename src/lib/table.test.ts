import { expect, it } from 'vitest'
import { renderTable } from './table.ts'

it('shows hostile cells without obeying them', () => {
  expect(renderTable(['Name', 'Description'], [['a\u001b[2J\u009b\u202e', 'one\r\ntwo\tthree']])).toBe(
    'Name     Description\n-------  -------------\na\ufffd[2J\ufffd\ufffd  one two three\n',
  )
})

it('has headers, dashes, and columns as wide as their widest cell', () => {
  const rows = [
    ['everything', 'stdio', 'env=dev'],
    ['x', 'http', ''],
  ]
  expect(renderTable(['Name', 'Type', 'Labels'], rows)).toBe(
    ['Name        Type   Labels', '----------  -----  -------', 'everything  stdio  env=dev', 'x           http', ''].join('\n'),
  )
})

const at = (columns: number) => ({ isTTY: true, columns })

it('cuts nothing that goes elsewhere than to a terminal, or into one that does not say how wide it is', () => {
  const rows = [['one', 'env=dev,team=payments']]
  for (const screen of [undefined, { columns: 20 }, { isTTY: false, columns: 20 }, { isTTY: true }, at(0)])
    expect(renderTable(['Name', 'Labels'], rows, screen)).toContain('env=dev,team=payments')
})

it('cuts the widest columns to the terminal, the first one last', () => {
  const rows = [['everything', 'one two three', 'env=dev,team=payments']]
  const heads = ['Name', 'About', 'Labels']
  expect(renderTable(heads, rows, at(48))).toBe(renderTable(heads, rows))
  expect(renderTable(heads, rows, at(40))).toBe(
    ['Name        About          Labels', '----------  -------------  -------------', 'everything  one two three  env=dev,team…', ''].join(
      '\n',
    ),
  )
  expect(renderTable(heads, rows, at(32))).toBe(
    ['Name        About      Labels', '----------  ---------  ---------', 'everything  one two …  env=dev,…', ''].join('\n'),
  )
  expect(renderTable(heads, rows, at(28))).toBe(
    ['Name        About    Labels', '----------  -------  -------', 'everything  one tw…  env=de…', ''].join('\n'),
  )
})

it('leaves names whole, so that two of them can be told apart, and cuts what is longer than a name', () => {
  const rows = [
    ['everything', 'over stdio', 'stdio', 'env=demo'],
    ['everything-http', 'over HTTP', 'HTTP', 'env=demo'],
  ]
  expect(renderTable(['Name', 'Description', 'Type', 'Labels'], rows, at(36)).split('\n').slice(2, 4)).toEqual([
    'everything       over…  stdio  env=…',
    'everything-http  over…  HTTP   env=…',
  ])
  const ids = [['0193b9f2-7a51-7c33-b7f0-55d0b4f00001', 'a'.repeat(30)]]
  expect(renderTable(['ID', 'User'], ids, at(30)).split('\n')[2]).toBe('0193b9f2-7a51-7c33-…  aaaaaaa…')
})

it('fits any terminal that has room for three characters a column, and no line is longer than needed', () => {
  const row = ['identifier-of-forty-characters-or-so-here', 'x'.repeat(300), 'y', '😀'.repeat(50), '2027-01-31T12:00:00Z', 'a b']
  for (let columns = 28; columns < 500; columns += 7) {
    const lines = renderTable(['ID', 'Long', 'Y', 'Faces', 'Time', 'Words'], [row], at(columns)).trimEnd().split('\n')
    const longest = Math.max(...lines.map((line) => [...line].length))
    expect(longest).toBe(Math.min(columns, 41 + 300 + 1 + 50 + 20 + 5 + 10))
  }
  expect(renderTable(['Name', 'Labels'], [['a', 'env=dev']], at(1))).toBe('Na…  La…\n---  ---\na    en…\n')
})

it('takes missing cells, no rows and characters beyond the basic plane', () => {
  expect(renderTable(['A', 'B'], [['😀'], []])).toBe('A  B\n-  -\n😀\n\n')
  expect(renderTable(['Name', 'Type'], [])).toBe('Name  Type\n----  ----\n')
})
