import { answerTo } from './echo.ts'

/** The same MCP server on pipes, without a library: one message a line. */
let rest = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n')
  rest = lines.pop() ?? ''
  const answers = lines.map((line) => (line === '' ? '' : answerTo(line))).filter((answer) => answer !== '')
  if (answers.length > 0) process.stdout.write(`${answers.join('\n')}\n`)
})
process.stdin.on('end', () => process.exit(0))
