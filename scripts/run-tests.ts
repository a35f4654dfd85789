import { startVitest } from 'vitest/node'

// Runs the tests and ends with one plain line, `N passed, N failed[, N skipped]`, which programs that watch a build can read.
// Arguments are filters, as for vitest: part of a file's name.

const vitest = await startVitest('test', process.argv.slice(2), { run: true, watch: false })
const count = { passed: 0, failed: 0, skipped: 0 }
for (const module of vitest.state.getTestModules()) {
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    count[state === 'pending' ? 'skipped' : state] += 1
  }
  // A file that could not be loaded, or a hook that failed, has no test that says so.
  count.failed += module.errors().length
  for (const suite of module.children.allSuites()) count.failed += suite.errors().length
}
// So has an error outside of every test.
count.failed += vitest.state.getUnhandledErrors().length
await vitest.close()
if (count.failed > 0 || count.passed === 0) process.exitCode = 1
process.stdout.write(`${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ''}\n`)
