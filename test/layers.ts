/**
 * The import table and the rules that a folder's name promises. `findLayerFaults` is pure, so that its own test can
 * feed it trees that break each rule.
 */

/** Who may import whom. Folders that are not named here do not exist; a file belongs to the longest name that fits. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  resources: ['lib'],
  access: ['lib', 'resources'],
  ca: ['lib', 'resources'],
  audit: ['lib', 'resources'],
  tunnel: ['lib'],
  mcp: ['lib', 'resources', 'access', 'audit'],
  api: ['lib', 'resources', 'audit'],
  client: ['lib', 'resources', 'ca', 'api'],
  storage: ['lib', 'resources', 'audit'],
  'services/auth': ['lib', 'resources', 'access', 'ca', 'audit', 'api', 'storage'],
  'services/proxy': ['lib', 'resources', 'access', 'ca', 'audit', 'tunnel', 'mcp', 'client'],
  'services/agent': ['lib', 'resources', 'access', 'ca', 'audit', 'tunnel', 'mcp', 'client'],
  'services/bot': ['lib', 'resources', 'ca', 'client'],
  'services/desktop': ['lib', 'resources', 'mcp', 'client'],
  'cli/server': [
    'lib',
    'resources',
    'access',
    'ca',
    'audit',
    'tunnel',
    'mcp',
    'api',
    'client',
    'storage',
    'services/auth',
    'services/proxy',
    'services/agent',
    'services/desktop',
    'cli/tsh',
    'cli/tctl',
    'cli/tbot',
  ],
  'cli/tsh': ['lib', 'resources', 'client', 'services/desktop'],
  'cli/tctl': ['lib', 'resources', 'client', 'audit'],
  'cli/tbot': ['lib', 'resources', 'client', 'services/bot'],
}

/** Packages that belong to some folders alone: SQL is written in `storage` and nowhere else. */
const PACKAGE_HOMES: Readonly<Record<string, readonly string[]>> = {
  kysely: ['storage'],
  // The second is no store: it holds the lock of a data directory by the lock of a database file.
  'node:sqlite': ['storage', 'lib/single-instance.ts'],
  pg: ['storage'],
  ws: ['tunnel'],
  commander: ['cli', 'lib/command-line.ts'],
  '@clack/prompts': ['cli'],
}

/** All that the folders which describe rather than act may import from outside: no type of a dependency becomes part of the contract. */
const PACKAGES_OF: Readonly<Record<string, readonly string[]>> = {
  resources: ['zod'],
  api: ['zod', 'node:crypto'],
  access: ['@marcbachmann/cel-js', 're2js'],
}

const MAX_LINES = 300
const MAX_TEST_LINES = 400

/** Files that may be longer, with the lines they have now and why. The list may only shrink, and so may its numbers. */
const LONGER: Rules['longer'] = {}

export interface SourceFile {
  /** From the root of the repository, with slashes: `src/lib/errors.ts`. */
  path: string
  text: string
}

export interface Rules {
  mayImport: Readonly<Record<string, readonly string[]>>
  longer: Readonly<Record<string, { lines: number; because: string }>>
}

/** One sentence for every rule that a file of `src` breaks; empty when all is well. */
export function findLayerFaults(files: readonly SourceFile[], rules: Rules = { mayImport: MAY_IMPORT, longer: LONGER }): string[] {
  const sources = files.filter((file) => file.path.startsWith('src/')).map((file) => readSource(file, rules.mayImport))
  const known = new Set(sources.map((source) => source.path))
  return [
    ...sources.flatMap((source) => [
      ...findImportFaults(source, rules.mayImport, known),
      ...findContentFaults(source),
      ...findNameFaults(source),
    ]),
    ...findFolderFaults(sources, rules.mayImport),
    ...findLengthFaults(sources, rules.longer),
    ...findCycles(sources),
  ]
}

interface Source extends SourceFile {
  /** The folder of the table, or undefined. */
  folder: string | undefined
  isTest: boolean
  /** The text without comments. */
  code: string
  /** What is imported, as written. */
  specifiers: string[]
  /** Imported files of ours, as paths from the root. */
  imports: string[]
}

function readSource(file: SourceFile, table: Rules['mayImport']): Source {
  const code = blankComments(file.text)
  const specifiers = Array.from(code.matchAll(IMPORT), (match) => match[1] ?? match[2] ?? '')
  const imports = specifiers.filter((each) => each.startsWith('.')).map((each) => resolve(file.path, each))
  // A program that a test starts, and what tests share, count as tests.
  const isTest = /(?:\.test|[.-]fixture|-child)\.ts$/.test(file.path)
  return { ...file, folder: folderOf(file.path, table), isTest, code, specifiers, imports }
}

/** `from '…'` of an import or export, `import '…'`, `import('…')` and so the type of a module too. */
const IMPORT = /(?:^|[\n;])\s*(?:import|export)\s(?:[^'"`;]*?\sfrom\s*)?['"]([^'"\n]+)['"]|\bimport\s*\(\s*['"]([^'"\n]+)['"]/g

/** Replaces comments by spaces and keeps strings, templates and the number of lines. */
export function blankComments(text: string): string {
  return text.replace(TOKENS, (token) => (token.startsWith('//') || token.startsWith('/*') ? token.replace(/[^\n]/g, ' ') : token))
}

/** Comments, strings, and regular expressions as they can follow an operator. */
const TOKENS =
  /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"|`(?:[^`\\]|\\[^])*`|(?<=[=(,:?&|!;[{>]\s*)\/(?![/*])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//g

function folderOf(path: string, table: Rules['mayImport']): string | undefined {
  const fits = Object.keys(table).filter((folder) => path.startsWith(`src/${folder}/`))
  return fits.toSorted((a, b) => b.length - a.length)[0]
}

function resolve(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

function findImportFaults(source: Source, table: Rules['mayImport'], known: ReadonlySet<string>): string[] {
  const { path, folder } = source
  if (folder === undefined) return [`${path}: its folder is not in the import table`]
  const faults: string[] = []
  for (const target of source.imports) {
    const other = folderOf(target, table)
    if (source.isTest && target.startsWith('test/')) continue
    if (other === undefined) faults.push(`${path}: imports ${target}, which is in no folder of the table`)
    else if (!known.has(target)) faults.push(`${path}: imports ${target}, which does not exist`)
    else if (other !== folder && !table[folder]?.includes(other)) faults.push(`${path}: ${folder} may not import ${other} (${target})`)
  }
  return source.isTest ? faults : [...faults, ...findPackageFaults(source, folder)]
}

function findPackageFaults({ path, specifiers }: Source, folder: string): string[] {
  const packages = specifiers.filter((each) => !each.startsWith('.')).map(packageOf)
  const faults: string[] = []
  for (const name of packages) {
    const homes = PACKAGE_HOMES[name]
    if (homes && !homes.some((home) => path === `src/${home}` || path.startsWith(`src/${home}/`)))
      faults.push(`${path}: ${name} may be imported in ${homes.join(', ')} only`)
    const allowed = PACKAGES_OF[folder]
    if (allowed && !allowed.includes(name)) faults.push(`${path}: ${folder} may import ${allowed.join(', ')} from outside, not ${name}`)
  }
  return faults
}

/** `node:fs/promises` → `node:fs/promises`, `@a/b/c` → `@a/b`, `a/b` → `a`. */
function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

interface ContentRule {
  pattern: RegExp
  /** Where it is allowed: the start of a path below src, or the end of one. */
  home: RegExp
  says: string
}

const CONTENT: readonly ContentRule[] = [
  { pattern: /\bprocess\s*\.\s*env\b/, home: /^cli\/|\/config\.ts$/, says: 'reads the environment, which is for config.ts and cli' },
  { pattern: /\bprocess\s*\.\s*stdout\b|\bconsole\s*\./, home: /^cli\//, says: 'writes to stdout, which is for cli' },
  { pattern: /\bprocess\s*\.\s*(?:exit|exitCode|abort)\b/, home: /^cli\//, says: 'ends the process, which is for cli' },
  {
    pattern:
      /['"`]\s*(?:select\s[^'"`]*\sfrom\s|insert\s+(?:or\s+\w+\s+)?into\s|update\s+\w+\s+set\s|delete\s+from\s|(?:create|alter|drop)\s+(?:table|index)\s|pragma\s)/i,
    // The second speaks to the databases of others, with statements about their sessions and nothing else.
    home: /^storage\/|^services\/agent\/postgres\//,
    says: 'contains SQL, which is for storage',
  },
  {
    pattern: /\bDate\s*\.\s*now\b|\bnew\s+Date\s*\(\s*\)|\bMath\s*\.\s*random\b|\brandomUUID\b/,
    home: /^(?!access\/)/,
    says: 'reads clock or randomness: access takes them as arguments',
  },
]

function findContentFaults({ path, code, isTest }: Source): string[] {
  const faults: string[] = []
  if (/(?:^|[\n;])\s*export\s(?:type\s)?\s*(?:\*|\{[^}]*\}\s*from\b)/.test(code))
    faults.push(`${path}: re-exports; import the file that defines the thing`)
  if (isTest) return faults
  const below = path.slice('src/'.length)
  for (const rule of CONTENT) if (!rule.home.test(below) && rule.pattern.test(code)) faults.push(`${path}: ${rule.says}`)
  return faults
}

function findNameFaults({ path }: Source): string[] {
  const words = path
    .slice('src/'.length)
    .replace(/(?:\.property)?(?:\.test|\.fixture)?\.\w+$/, '')
    .split('/')
  const faults: string[] = []
  if (words.at(-1) === 'index') faults.push(`${path}: no file is called index; import the file that defines the thing`)
  for (const word of words) {
    if (/^(?:utils?|helpers?|common|misc|base|managers?|handlers?|processors?|impl|data|info)$/.test(word))
      faults.push(`${path}: "${word}" says nothing; name the thing`)
    if (!/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(word)) faults.push(`${path}: "${word}" is not kebab-case`)
  }
  return faults
}

function findFolderFaults(sources: readonly Source[], table: Rules['mayImport']): string[] {
  const alive = new Set(sources.map((source) => source.folder))
  return Object.entries(table).flatMap(([folder, others]) => [
    ...(alive.has(folder) ? [] : [`src/${folder}: stands in the import table and has no file`]),
    ...others.filter((other) => !(other in table)).map((other) => `src/${folder}: may import ${other}, which is not in the table`),
  ])
}

function findLengthFaults(sources: readonly Source[], longer: Rules['longer']): string[] {
  const faults: string[] = []
  for (const { path, text, isTest } of sources) {
    const usual = isTest ? MAX_TEST_LINES : MAX_LINES
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
    const limit = longer[path]?.lines ?? usual
    if (lines > limit) faults.push(`${path}: ${lines} lines, more than ${limit}`)
    if (path in longer && lines <= usual) faults.push(`${path}: short enough now; take it off the list of longer files`)
  }
  const known = new Set(sources.map((source) => source.path))
  return [
    ...faults,
    ...Object.keys(longer)
      .filter((path) => !known.has(path))
      .map((path) => `${path}: is on the list of longer files and does not exist`),
  ]
}

/** Each circle once, named from its first file. */
function findCycles(sources: readonly Source[]): string[] {
  const next = new Map(sources.map((source) => [source.path, source.imports]))
  const done = new Set<string>()
  const trail: string[] = []
  const cycles: string[] = []
  const visit = (path: string): void => {
    const start = trail.indexOf(path)
    if (start >= 0) cycles.push(`cycle: ${[...trail.slice(start), path].join(' → ')}`)
    if (start >= 0 || done.has(path)) return
    trail.push(path)
    for (const target of next.get(path) ?? []) visit(target)
    trail.pop()
    done.add(path)
  }
  for (const source of sources) visit(source.path)
  return cycles
}
