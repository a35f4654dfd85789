/** Finds, among the last lines of a process, the one that says why it ended. */
export interface TellingLine {
  push(line: string): void
  /** Undefined before the first line. */
  last(): string | undefined
}

/**
 * What runtimes write below the words of an error: frames of the stack, marks below source, places that were looked at, the version of Node;
 * frames of Go and Rust; what npm says of its log.
 */
const TRAILER = new RegExp(
  [
    /^at\s/,
    /^(?:\.\.\.|→) /,
    /^Node\.js v\d/,
    /^[\^~{}()[\],;]+$/,
    /^goroutine \d+ \[/,
    /^\S+\([^()]*\)$/,
    /^\/\S+:\d+(?: \+0x[\da-f]+)?$/,
    /^exit status \d+$/,
    /^note: run with `RUST_BACKTRACE/,
    /^npm (?:error|ERR!)(?: \d+)?(?:\s+(?:A complete log|Log files were not|Note that you can|tarball, folder|You can rerun).*)?$/,
  ]
    .map(({ source }) => source)
    .join('|'),
)
/** Lines of an object that Node prints below a stack: `{`, `code: 'ENOENT',` and so on, `}`. */
const OPENS_OBJECT = /^(?:at\s|\.\.\. |\w*Error\b).*\{$/
const MAX_OBJECT_LINES = 50

/** The last line that is no trailer of an error; when there is none, the last line. */
export function createTellingLine(): TellingLine {
  let last: string | undefined
  let telling: string | undefined
  let objectLines = 0
  return {
    push(line) {
      last = line
      if (objectLines > 0) {
        objectLines = line.startsWith('}') ? 0 : objectLines - 1
        return
      }
      if (!TRAILER.test(line)) telling = line
      // Only what follows a frame, or the words of an error, is about that error.
      if (OPENS_OBJECT.test(line)) objectLines = MAX_OBJECT_LINES
    },
    last: () => telling ?? last,
  }
}
