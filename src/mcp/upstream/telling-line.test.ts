import { expect, test } from 'vitest'
import { createTellingLine } from './telling-line.ts'

/** As they come from a process: trimmed, without empty ones. */
function tellingOf(text: string): string | undefined {
  const telling = createTellingLine()
  for (const line of text.split('\n').map((one) => one.trim())) if (line !== '') telling.push(line)
  return telling.last()
}

test.each([
  ['nothing', '', undefined],
  ['one line', 'TOKEN is not set', 'TOKEN is not set'],
  ['a trailer alone', 'Node.js v26.10.0', 'Node.js v26.10.0'],
  [
    'Node: an error that nobody caught',
    `file:///srv/index.js:240
    throw new Error('TOKEN is not set')
          ^

Error: TOKEN is not set
    at async runServer (file:///srv/index.js:240:9)
    at file:///srv/index.js:1:1

Node.js v26.10.0`,
    'Error: TOKEN is not set',
  ],
  [
    'Node: with an object below the stack',
    `Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'x'
    at resolve (node:internal/modules/esm/resolve:271:9)
    at async load (node:internal:1:1) {
  code: 'ERR_MODULE_NOT_FOUND',
  requireStack: [
    '/srv/index.js'
  ]
}

Node.js v26.10.0`,
    `Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'x'`,
  ],
  [
    'Python',
    `Traceback (most recent call last):
  File "server.py", line 1, in <module>
KeyError: 'TOKEN'`,
    `KeyError: 'TOKEN'`,
  ],
  [
    'Go',
    `panic: no token

goroutine 1 [running]:
main.main()
	/srv/main.go:4 +0x1d
exit status 2`,
    'panic: no token',
  ],
  [
    '.NET',
    `Unhandled exception. System.Exception: no token
   at Program.Main() in /srv/Program.cs:line 3`,
    'Unhandled exception. System.Exception: no token',
  ],
  [
    'npm',
    `npm error code E404
npm error 404 Not Found - GET https://registry.npmjs.org/no-such - Not found
npm error 404
npm error 404  'no-such@*' is not in this registry.
npm error 404
npm error 404 Note that you can also install from a
npm error 404 tarball, folder, http url, or git url.
npm error A complete log of this run can be found in: /home/mcp/.npm/_logs/x.log`,
    "npm error 404  'no-such@*' is not in this registry.",
  ],
  [
    'places where something was looked for',
    'Error: Could not locate the bindings file. Tried:\n → /srv/build/x.node\n → /srv/out/x.node\n    at f (b.js:1:1)',
    'Error: Could not locate the bindings file. Tried:',
  ],
  ['an object of a log is no end', 'up {\nEADDRINUSE: port 80\n}', 'EADDRINUSE: port 80'],
  ['what follows an error', 'Error: retrying\n    at f (a.js:1:1)\ngiving up', 'giving up'],
])('%s', (_, text, expected) => {
  expect(tellingOf(text)).toBe(expected)
})

test('a line costs no more than its length, whatever a program writes', { timeout: 2000 }, () => {
  const telling = createTellingLine()
  // By the square of it, this takes many seconds.
  for (let line = 0; line < 1000; line++) telling.push(`${'('.repeat(4000)})${line}`)
  expect(telling.last()?.slice(-5)).toBe('()999')
})
