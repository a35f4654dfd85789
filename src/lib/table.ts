import { replaceControls } from './output.ts'

/**
 * A text table: the headers as given, dashes under them, one line a row, columns two spaces apart and as wide as their widest cell.
 * With `width` (columns of the terminal; leave it out when standard output is none) the last column is cut to fit. Cells cannot drive
 * the terminal or break the row: control characters appear as `\u{fffd}`, white space as a space. Ends with a newline.
 */
export function renderTable(
  headers: readonly string[],
  rows: readonly (readonly string[])[],
  { width }: { width?: number | undefined } = {},
): string {
  const titles = headers.map(clean)
  const cells = rows.map((row) => titles.map((_, column) => clean(row[column] ?? '')))
  const widths = titles.map((title, column) =>
    cells.reduce((widest, row) => Math.max(widest, lengthOf(row[column] ?? '')), lengthOf(title)),
  )
  const last = titles.length - 1
  const room = width === undefined ? Infinity : width - widths.slice(0, last).reduce((sum, each) => sum + each + 2, 0)
  const lastWidth = Math.min(widths[last] ?? 0, Math.max(room, lengthOf(titles[last] ?? '')))
  const dashes = widths.map((each, column) => '-'.repeat(column === last ? lastWidth : each))
  return [titles, dashes, ...cells].map((row) => renderRow(row, widths, lastWidth)).join('')
}

function renderRow(row: readonly string[], widths: readonly number[], lastWidth: number): string {
  const last = widths.length - 1
  const columns = row.map((cell, column) =>
    column === last ? cut(cell, lastWidth) : cell + ' '.repeat((widths[column] ?? 0) - lengthOf(cell)),
  )
  return `${columns.join('  ').trimEnd()}\n`
}

function cut(cell: string, width: number): string {
  return lengthOf(cell) <= width ? cell : `${[...cell].slice(0, Math.max(0, width - 3)).join('')}...`
}

function clean(cell: string): string {
  return replaceControls(cell.replace(/[\t\r\n]+/g, ' '), () => '\u{fffd}')
}

/** Characters, not UTF-16 units. */
function lengthOf(text: string): number {
  return [...text].length
}
