import { spawn } from 'node:child_process'
import type { Environment } from '../../lib/paths.ts'

/** Opens a page with the person's browser. The URL stands in the terminal too, so a failure costs nothing and is not reported. */
export function openBrowser(
  url: string,
  { choice, env, platform }: { choice: string | undefined; env: Environment; platform: NodeJS.Platform },
): void {
  if (choice === 'none') return
  const program = choice ?? (platform === 'darwin' ? 'open' : platform === 'win32' ? 'explorer.exe' : 'xdg-open')
  const child = spawn(program, [url], { stdio: 'ignore', detached: true, env: { ...env } })
  child.on('error', () => {})
  child.unref()
}
