import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'
import { z } from 'zod'

// Bundles each command to dist/<name>.js, which the launchers in bin/ import and which `node dist/<name>.js` runs as well, and beside them
// the code of threads.

const ROOT = join(import.meta.dirname, '..')
const DIST = join(ROOT, 'dist')
const COMMANDS: Readonly<Record<string, string>> = { sallyport: 'server', tsh: 'tsh', tctl: 'tctl', tbot: 'tbot' }
/** Code that runs in a thread of its own, loaded by file: by its name in dist. */
const THREADS: Readonly<Record<string, string>> = { 'journal-thread': 'src/services/auth/journal-thread.ts' }
const packageSchema = z.object({ name: z.string(), version: z.string(), license: z.string().optional() })

const { version } = packageSchema.parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')))

await rm(DIST, { recursive: true, force: true })
await mkdir(DIST)
const { metafile } = await build({
  entryPoints: [
    ...Object.keys(COMMANDS).map((name) => ({ in: `entry:${name}`, out: name })),
    ...Object.entries(THREADS).map(([name, file]) => ({ in: file, out: name })),
  ],
  plugins: [entries()],
  outdir: DIST,
  absWorkingDir: ROOT,
  bundle: true,
  // What a command loads lazily in the sources it loads lazily here.
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node24',
  sourcemap: 'linked',
  sourcesContent: false,
  // The texts of all licences stand in one file instead.
  legalComments: 'none',
  // Bundled CommonJS asks for node's own modules with require.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module'\nconst require = createRequireOfBundle(import.meta.url)",
  },
  metafile: true,
  logLevel: 'warning',
})
await writeFile(join(DIST, 'LICENSES.txt'), await renderLicences(metafile))
for (const [path, { bytes }] of Object.entries(metafile.outputs)) {
  if (!path.endsWith('.map') && !path.includes('/chunks/')) process.stdout.write(`${path} ${Math.ceil(bytes / 1024)} KiB\n`)
}

/** The entry of a command: `main` for the launcher, and a start of its own when node was given this very file. */
function entries(): Plugin {
  return {
    name: 'entries',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice('entry:'.length), namespace: 'entry' }))
      onLoad({ filter: /.*/, namespace: 'entry' }, ({ path }) => ({ contents: renderEntry(path), loader: 'js', resolveDir: ROOT }))
    },
  }
}

function renderEntry(name: string): string {
  return `
import { realpathSync } from 'node:fs'
import { main } from './src/cli/${COMMANDS[name] ?? name}/main.ts'

export { main }

const started = process.argv[1]
if (started !== undefined && realpathSync(started) === import.meta.filename) {
  const { stdin, stdout, stderr, env, argv } = process
  const launcher = [process.execPath, import.meta.filename]
  const io = { stdin, stdout, stderr, env, isTTY: Boolean(stdout.isTTY), columns: stdout.columns, signals: process, launcher, version: ${JSON.stringify(version)} }
  process.exitCode = await main(argv.slice(2), io)
}
`
}

/** Names, versions and licences of the packages that went into the bundles. */
async function renderLicences({ inputs }: Metafile): Promise<string> {
  const folders = new Set<string>()
  for (const input of Object.keys(inputs)) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
    if (folder !== undefined) folders.add(folder)
  }
  const texts = await Promise.all([...folders].toSorted().map((folder) => renderLicence(join(ROOT, folder))))
  return texts.join(`\n${'-'.repeat(80)}\n\n`)
}

async function renderLicence(folder: string): Promise<string> {
  const { name, version: its, license } = packageSchema.parse(JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')))
  const files = (await readdir(folder)).filter((file) => /^(?:licen[cs]e|notice|copying)/i.test(file)).toSorted()
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))
  return [`${name} ${its} (${license ?? 'licence in its text'})\n`, ...texts].join('\n')
}
