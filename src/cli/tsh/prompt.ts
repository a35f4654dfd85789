import { AppError } from '../../lib/errors.ts'
import type { TshIo } from './context.ts'

const MAX_LINE = 4096
const rests = new WeakMap<object, string>()

/** Asks at a terminal; without one the answer is the next line of standard input. None there throws `invalid_argument`. */
export async function askLine(io: TshIo, { question, secret = false }: { question: string; secret?: boolean }): Promise<string> {
  if (!io.stdin.isTTY) return await readLine(io, question)
  const { isCancel, password, text } = await import('@clack/prompts')
  const answer = secret ? await password({ message: question }) : await text({ message: question, defaultValue: '' })
  if (isCancel(answer)) throw new AppError('cancelled', 'cancelled')
  return answer
}

/** One line; what came with it stays for the next question. */
async function readLine({ stdin }: TshIo, question: string): Promise<string> {
  let text = rests.get(stdin) ?? ''
  stdin.setEncoding('utf8')
  while (!text.includes('\n') && text.length <= MAX_LINE) {
    const chunk: unknown = stdin.readableEnded ? null : (stdin.read() ?? (await nextChunk(stdin)))
    if (typeof chunk !== 'string') break
    text += chunk
  }
  const end = text.indexOf('\n')
  rests.set(stdin, end === -1 ? '' : text.slice(end + 1))
  const line = (end === -1 ? text : text.slice(0, end)).replace(/\r$/, '')
  if (line === '' && text === '')
    throw new AppError('invalid_argument', `"${question}" has no answer: standard input is empty and no terminal`)
  if (line.length > MAX_LINE) throw new AppError('invalid_argument', 'the line on standard input is too long')
  return line
}

function nextChunk(stdin: TshIo['stdin']): Promise<unknown> {
  return new Promise((fulfil, reject) => {
    const settle = () => {
      stdin.off('readable', onReadable)
      stdin.off('end', onEnd)
      stdin.off('error', reject)
    }
    const onEnd = () => {
      settle()
      fulfil(null)
    }
    const onReadable = () => {
      const chunk: unknown = stdin.read()
      if (chunk === null) return
      settle()
      fulfil(chunk)
    }
    stdin.on('readable', onReadable)
    stdin.on('end', onEnd)
    stdin.on('error', reject)
  })
}
