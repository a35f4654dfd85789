import { PassThrough, Writable } from 'node:stream'
import { main as sallyport } from '../src/cli/server/main.ts'
import { main as tbot } from '../src/cli/tbot/main.ts'
import { main as tctl } from '../src/cli/tctl/main.ts'
import { main as tsh } from '../src/cli/tsh/main.ts'

const PROGRAMS = { sallyport, tsh, tctl, tbot } as const

export interface HelpPage {
  /** `tsh mcp ls`. */
  command: string
  /** What `--help` prints. */
  text: string
}

/** The help of every program and of every command that its help lists, parents first. */
export async function readHelp(): Promise<HelpPage[]> {
  const pages: HelpPage[] = []
  for (const [name, main] of Object.entries(PROGRAMS)) pages.push(...(await readTree(name, main, [])))
  return pages
}

async function readTree(name: string, main: typeof tsh, words: readonly string[]): Promise<HelpPage[]> {
  const text = await capture(main, [...words, '--help'])
  const pages = [{ command: [name, ...words].join(' '), text }]
  for (const child of listChildren(text)) if (child !== 'help') pages.push(...(await readTree(name, main, [...words, child])))
  return pages
}

/** The words in the section `Commands`. */
function listChildren(text: string): string[] {
  const lines = text.split('\n')
  const start = lines.indexOf('Commands') + 1
  if (start === 0) return []
  const end = lines.indexOf('', start)
  return lines.slice(start, end === -1 ? undefined : end).map((line) => line.trim().split(' ', 1)[0] ?? '')
}

async function capture(main: typeof tsh, argv: readonly string[]): Promise<string> {
  let text = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk)
      done()
    },
  })
  const code = await main(argv, { stdin: new PassThrough(), stdout, stderr: stdout, env: {}, isTTY: false, version: '0' })
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}: ${text}`)
  return text
}
