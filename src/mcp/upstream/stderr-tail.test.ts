import { expect, test } from 'vitest'
import { createStderrLines, createStderrTail } from './stderr-tail.ts'

function linesOf(...chunks: (string | Buffer)[]): string[] {
  const lines: string[] = []
  const reader = createStderrLines((line) => lines.push(line))
  for (const chunk of chunks) reader.push(Buffer.from(chunk))
  reader.end()
  return lines
}

test('nothing that drives a terminal stays', () => {
  const hostile = '\u001b[31mred\u001b[0m \u001b]0;title\u0007done\r\u202eabc\u0000\tx\n'
  expect(linesOf(hostile)).toEqual(['red doneabc x'])
})

test('lines come whole over chunks, the last one without a line end', () => {
  expect(linesOf('on', 'e\n\ntw', Buffer.from([0xc3]), Buffer.from([0xa4]), '\nthree')).toEqual(['one', 'twä', 'three'])
})

test('a long line is cut at 4 KiB, however it comes', () => {
  const lines = linesOf('a'.repeat(5000), 'b'.repeat(5000), '\nnext\n')
  expect(lines.map((line) => line.length)).toEqual([4096, 4])
})

test('the tail keeps 200 lines', () => {
  const tail = createStderrTail()
  for (let n = 1; n <= 1000; n++) tail.push(`line ${n}`)
  expect(tail.lines().length).toBe(200)
  expect(tail.lines()[0]).toBe('line 801')
})

test('the tail keeps 256 KiB', () => {
  const tail = createStderrTail()
  for (let n = 1; n <= 150; n++) tail.push('x'.repeat(4096))
  expect(tail.lines().length).toBe(64)
})
