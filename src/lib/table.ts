import { replaceControls } from './output.ts'

/** Standard output, as far as tables mind it. */
export interface Screen {
  isTTY?: boolean | undefined
  columns?: number | undefined
}

/** The narrowest that the others get before the first is cut, as much of the first as most names have, and the narrowest of all. */
const NARROW = 8
const NAME = 16
const NARROWEST = 3

/**
 * A text table: the headers as given, dashes under them, one line a row, columns two spaces apart and as wide as their widest cell.
 * On a terminal the widest columns are cut to fit, with `…`; the first one, which other commands ask for, last. Cells cannot drive
 * the terminal or break the row: control characters appear as `\u{fffd}`, white space as a space. Ends with a newline.
 */
export function renderTable(
  headers: readonly string[],
  rows: readonly (readonly string[])[],
  { isTTY = false, columns = 0 }: Screen = {},
): string {
  const titles = headers.map(clean)
  const cells = rows.map((row) => titles.map((_, column) => clean(row[column] ?? '')))
  const wanted = titles.map((title, column) =>
    cells.reduce((widest, row) => Math.max(widest, lengthOf(row[column] ?? '')), lengthOf(title)),
  )
  const widths = isTTY && columns > 0 ? fit(wanted, columns - 2 * (titles.length - 1)) : wanted
  return [titles, widths.map((width) => '-'.repeat(width)), ...cells].map((row) => renderRow(row, widths)).join('')
}

/** The widest columns give up what is too much, as evenly as they can. */
function fit(wanted: readonly number[], room: number): number[] {
  const widths = [...wanted]
  const others = widths.map((_, column) => column).slice(1)
  for (const [columns, least] of [
    [others, NARROW],
    [[0], NAME],
    [others, NARROWEST],
    [[0], NARROWEST],
  ] as const) {
    for (let excess = sum(widths) - room; excess > 0; excess = sum(widths) - room) {
      const widest = Math.max(...columns.map((column) => widths[column] ?? 0))
      if (widest <= least) break
      const next = Math.max(least, ...columns.map((column) => widths[column] ?? 0).filter((width) => width < widest))
      const those = columns.filter((column) => widths[column] === widest)
      const step = Math.max(1, Math.min(widest - next, Math.floor(excess / those.length)))
      for (const column of those) if (sum(widths) > room) widths[column] = widest - step
    }
  }
  return widths
}

function sum(widths: readonly number[]): number {
  return widths.reduce((total, width) => total + width, 0)
}

function renderRow(row: readonly string[], widths: readonly number[]): string {
  const columns = row.map((cell, column) => {
    const width = widths[column] ?? 0
    const shown = cut(cell, width)
    return shown + ' '.repeat(width - lengthOf(shown))
  })
  return `${columns.join('  ').trimEnd()}\n`
}

function cut(cell: string, width: number): string {
  return lengthOf(cell) <= width ? cell : `${[...cell].slice(0, width - 1).join('')}…`
}

function clean(cell: string): string {
  return replaceControls(cell.replace(/[\t\r\n]+/g, ' '), () => '\u{fffd}')
}

/** Characters, not UTF-16 units. */
function lengthOf(text: string): number {
  return [...text].length
}
