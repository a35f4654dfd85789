import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { blankComments, findLayerFaults } from './layers.ts'

const root = new URL('..', import.meta.url).pathname

test('the tree keeps to its import table and house rules', () => {
  const paths = globSync('src/**/*.ts', { cwd: root })
  expect(paths.length).toBeGreaterThan(100)
  expect(findLayerFaults(paths.map((path) => ({ path, text: readFileSync(root + path, 'utf8') })))).toEqual([])
})

const table = { lib: [], access: ['lib'], storage: ['lib'], 'services/auth': ['lib', 'access'], 'cli/tsh': ['lib'] }

/** A tree that is in order, with some files added or replaced. */
function faultsOf(changed: Record<string, string>, longer: Record<string, { lines: number; because: string }> = {}): string[] {
  const sound = {
    'src/lib/errors.ts': 'export const a = 1\n',
    'src/access/check.ts': "import { a } from '../lib/errors.ts'\nexport const b = a\n",
    'src/storage/rows.ts': "const q = 'select * from rows'\nexport const rows = q\n",
    'src/services/auth/start.ts': "import { b } from '../../access/check.ts'\nexport const c = b\n",
    'src/cli/tsh/main.ts': 'process.stdout.write(String(process.env.HOME))\n',
  }
  return findLayerFaults(
    Object.entries({ ...sound, ...changed }).map(([path, text]) => ({ path, text })),
    { mayImport: table, longer },
  )
}

const refused: [name: string, files: Record<string, string>, fault: string][] = [
  [
    'an import outside the table',
    { 'src/lib/x.ts': "import { b } from '../access/check.ts'\n" },
    'src/lib/x.ts: lib may not import access (src/access/check.ts)',
  ],
  [
    'an import of a type',
    { 'src/lib/x.ts': "import type { B } from '../access/check.ts'\n" },
    'src/lib/x.ts: lib may not import access (src/access/check.ts)',
  ],
  [
    'an import over several lines',
    { 'src/lib/x.ts': "import {\n  b,\n} from '../access/check.ts'\n" },
    'src/lib/x.ts: lib may not import access (src/access/check.ts)',
  ],
  [
    'a lazy import',
    { 'src/lib/x.ts': "export const b = () => import('../access/check.ts')\n" },
    'src/lib/x.ts: lib may not import access (src/access/check.ts)',
  ],
  [
    'an import in a test',
    { 'src/lib/x.test.ts': "import { b } from '../access/check.ts'\n" },
    'src/lib/x.test.ts: lib may not import access (src/access/check.ts)',
  ],
  [
    'an import of test code',
    { 'src/lib/x.ts': "import { b } from '../../test/cluster.ts'\n" },
    'src/lib/x.ts: imports test/cluster.ts, which is in no folder of the table',
  ],
  [
    'an import of nothing',
    { 'src/lib/x.ts': "import { b } from './gone.ts'\n" },
    'src/lib/x.ts: imports src/lib/gone.ts, which does not exist',
  ],
  ['a folder without a row', { 'src/billing/x.ts': '' }, 'src/billing/x.ts: its folder is not in the import table'],
  ['a file outside every folder', { 'src/services/x.ts': '' }, 'src/services/x.ts: its folder is not in the import table'],
  ['an index', { 'src/lib/index.ts': '' }, 'src/lib/index.ts: no file is called index; import the file that defines the thing'],
  ['a name that says nothing', { 'src/lib/utils.ts': '' }, 'src/lib/utils.ts: "utils" says nothing; name the thing'],
  ['a folder that says nothing', { 'src/lib/common/x.ts': '' }, 'src/lib/common/x.ts: "common" says nothing; name the thing'],
  ['a name in camel case', { 'src/lib/myFile.ts': '' }, 'src/lib/myFile.ts: "myFile" is not kebab-case'],
  [
    'a re-export',
    { 'src/lib/x.ts': "export { a } from './errors.ts'\n" },
    'src/lib/x.ts: re-exports; import the file that defines the thing',
  ],
  [
    'a re-export of a type',
    { 'src/lib/x.ts': "export type { a } from './errors.ts'\n" },
    'src/lib/x.ts: re-exports; import the file that defines the thing',
  ],
  [
    'a re-export of all',
    { 'src/lib/x.ts': "export * from './errors.ts'\n" },
    'src/lib/x.ts: re-exports; import the file that defines the thing',
  ],
  [
    'the environment',
    { 'src/lib/x.ts': 'export const h = process.env.HOME\n' },
    'src/lib/x.ts: reads the environment, which is for config.ts and cli',
  ],
  ['standard output', { 'src/lib/x.ts': "process.stdout.write('x')\n" }, 'src/lib/x.ts: writes to stdout, which is for cli'],
  ['the console', { 'src/lib/x.ts': "console.error('x')\n" }, 'src/lib/x.ts: writes to stdout, which is for cli'],
  ['the end of the process', { 'src/lib/x.ts': 'process.exit(1)\n' }, 'src/lib/x.ts: ends the process, which is for cli'],
  ['SQL', { 'src/services/auth/x.ts': 'const q = `\n  SELECT a FROM b`\n' }, 'src/services/auth/x.ts: contains SQL, which is for storage'],
  [
    'a driver',
    { 'src/services/auth/x.ts': "import { DatabaseSync } from 'node:sqlite'\n" },
    'src/services/auth/x.ts: node:sqlite may be imported in storage, lib/single-instance.ts only',
  ],
  [
    'I/O in access',
    { 'src/access/x.ts': "import { readFileSync } from 'node:fs'\n" },
    'src/access/x.ts: access may import @marcbachmann/cel-js, re2js from outside, not node:fs',
  ],
  [
    'a clock in access',
    { 'src/access/x.ts': 'export const t = Date.now()\n' },
    'src/access/x.ts: reads clock or randomness: access takes them as arguments',
  ],
  ['a long file', { 'src/lib/x.ts': '// x\n'.repeat(301) }, 'src/lib/x.ts: 301 lines, more than 300'],
  ['a long test', { 'src/lib/x.test.ts': '// x\n'.repeat(401) }, 'src/lib/x.test.ts: 401 lines, more than 400'],
  [
    'a circle',
    { 'src/lib/x.ts': "import { y } from './y.ts'\n", 'src/lib/y.ts': "import type { x } from './x.ts'\n" },
    'cycle: src/lib/x.ts → src/lib/y.ts → src/lib/x.ts',
  ],
]

test.each(refused)('%s is a fault', (_name, files, fault) => {
  expect(faultsOf(files)).toEqual([fault])
})

const accepted: [name: string, files: Record<string, string>][] = [
  ['a sound tree', {}],
  ['a fault in a comment', { 'src/lib/x.ts': "// import { b } from '../access/check.ts'\n/* console.log(process.env) */\n" }],
  ['prose that begins like SQL', { 'src/lib/x.ts': "export const m = 'update the role, or select another from the list'\n" }],
  ['the environment in a config', { 'src/services/auth/config.ts': 'export const h = process.env.HOME\n' }],
  ['the environment and the console in a test', { 'src/lib/x.test.ts': 'console.warn(process.env.HOME)\n' }],
  ['a fake in a test', { 'src/lib/x.test.ts': "import { b } from '../../test/fakes/clock.ts'\n" }],
]

test.each(accepted)('%s is no fault', (_name, files) => {
  expect(faultsOf(files)).toEqual([])
})

test('a folder of the table without files is a fault', () => {
  const files = [{ path: 'src/lib/errors.ts', text: '' }]
  expect(findLayerFaults(files, { mayImport: { lib: [], storage: ['lib', 'web'] }, longer: {} })).toEqual([
    'src/storage: stands in the import table and has no file',
    'src/storage: may import web, which is not in the table',
  ])
})

test('the list of longer files only shrinks', () => {
  const long = { 'src/lib/x.ts': '// x\n'.repeat(310) }
  expect(faultsOf(long, { 'src/lib/x.ts': { lines: 310, because: 'a word list' } })).toEqual([])
  expect(faultsOf(long, { 'src/lib/x.ts': { lines: 305, because: 'a word list' } })).toEqual(['src/lib/x.ts: 310 lines, more than 305'])
  expect(faultsOf({ 'src/lib/x.ts': '' }, { 'src/lib/x.ts': { lines: 310, because: 'a word list' } })).toEqual([
    'src/lib/x.ts: short enough now; take it off the list of longer files',
  ])
  expect(faultsOf({}, { 'src/lib/gone.ts': { lines: 310, because: 'a word list' } })).toEqual([
    'src/lib/gone.ts: is on the list of longer files and does not exist',
  ])
})

test('slashes inside strings and patterns begin no comment', () => {
  expect(blankComments("const a = 'http://x' // y")).toBe("const a = 'http://x'     ")
  expect(blankComments('const a = /[/*]/ /* y */ + `//`')).toBe('const a = /[/*]/         + `//`')
})
