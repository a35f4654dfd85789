import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'scripts/**/*.test.ts', 'examples/**/*.test.ts'],
    // Tests start child processes and listen for signals, which only a process of its own has.
    pool: 'forks',
    maxWorkers: 2,
    // Longer than what a test waits for (test/wait.ts), so that it is the wait that fails, and says for what. Tests of several waits have more.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
})
