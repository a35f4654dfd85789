import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

test('the demo server ends with its parent, however that ends', { timeout: 60_000 }, async () => {
  const [demo, http] = ['./demo.ts', './demo-http.ts'].map((file) => JSON.stringify(new URL(file, import.meta.url).href))
  const script = `import { findEverything } from ${demo}; import { startDemoHttp } from ${http}
    process.stdout.write((await startDemoHttp(findEverything())).url)`
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [chunk] = await once(parent.stdout, 'data')
  const url = String(chunk)
  expect(await isUp(url)).toBe(true)
  parent.kill('SIGKILL')
  await expect.poll(() => isUp(url)).toBe(false)
})

async function isUp(url: string): Promise<boolean> {
  return await fetch(url).then(
    () => true,
    () => false,
  )
}
