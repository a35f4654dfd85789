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

it('cuts the last column to the terminal, and only there', () => {
  const rows = [['one', 'env=dev,team=payments']]
  expect(renderTable(['Name', 'Labels'], rows, { width: 20 })).toBe('Name  Labels\n----  --------------\none   env=dev,tea...\n')
  expect(renderTable(['Name', 'Labels'], rows, { width: 3 })).toBe('Name  Labels\n----  ------\none   env...\n')
  expect(renderTable(['Name', 'Labels'], rows)).toContain('env=dev,team=payments')
})

it('takes missing cells, no rows and characters beyond the basic plane', () => {
  expect(renderTable(['A', 'B'], [['😀'], []])).toBe('A  B\n-  -\n😀\n\n')
  expect(renderTable(['Name', 'Type'], [])).toBe('Name  Type\n----  ----\n')
})
