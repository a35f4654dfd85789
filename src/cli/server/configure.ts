import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { renderProxyAddress, parseProxyAddress } from '../../client/proxy-address.ts'
import type { Invocation } from '../../lib/command-rows.ts'
import { AppError } from '../../lib/errors.ts'
import { renderOutput } from '../../lib/output.ts'

/** Writes the configuration of an agent to a file that must not exist, or to standard output. */
export async function run(invocation: Invocation): Promise<void> {
  const roles = invocation.text('roles') ?? 'app'
  if (roles !== 'app')
    throw new AppError('invalid_argument', `configure knows --roles=app, not "${roles}": everything else runs without a file`)
  const text = renderConfig({
    proxy: invocation.text('proxy'),
    token: invocation.text('token'),
    caPin: invocation.text('ca-pin'),
    dataDirectory: invocation.text('data-dir'),
    hasDemo: invocation.flag('mcp-demo-server'),
    appName: invocation.text('app-name'),
    appUri: invocation.text('app-uri'),
  })
  const output = invocation.text('output')
  if (output === undefined || output === 'stdout') return void invocation.io.stdout.write(text)
  const path = outputPath(output)
  await writeFile(path, text, { mode: 0o600, flag: 'wx' }).catch((cause: unknown) => {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    throw new AppError(
      isThere ? 'already_exists' : 'failed_precondition',
      isThere ? `${path} is there already: it is not overwritten` : `cannot write ${path}`,
      { cause },
    )
  })
  invocation.io.stdout.write(`Wrote ${path}. Start the agent with: sallyport start -c ${path}\n`)
}

/** The spellings of `teleport configure`: `file` is the place where such a file usually is, `file:///PATH` and a path name another. */
export function outputPath(output: string): string {
  return output === 'file' ? '/etc/sallyport.yaml' : resolve(output.replace(/^file:\/\//, ''))
}

interface Wanted {
  proxy: string | undefined
  token: string | undefined
  caPin: string | undefined
  dataDirectory: string | undefined
  hasDemo: boolean
  appName: string | undefined
  appUri: string | undefined
}

function renderConfig({ proxy, token, caPin, dataDirectory, hasDemo, appName, appUri }: Wanted): string {
  if (proxy === undefined) throw new AppError('invalid_argument', '--proxy is required: HOST:PORT of the proxy of the cluster')
  if ((appName === undefined) !== (appUri === undefined))
    throw new AppError('invalid_argument', '--app-name and --app-uri go together: an MCP server has a name and a URI')
  const document = {
    version: 'v3',
    teleport: {
      proxy_server: renderProxyAddress(parseProxyAddress(proxy)),
      ...(token !== undefined && { join_params: { method: 'token', token_name: token } }),
      ...(caPin !== undefined && { ca_pin: caPin.split(',') }),
      ...(dataDirectory !== undefined && { data_dir: dataDirectory }),
    },
    auth_service: { enabled: false },
    proxy_service: { enabled: false },
    app_service: {
      enabled: true,
      ...(hasDemo && { mcp_demo_server: true }),
      resources: [{ labels: { '*': '*' } }],
      ...(appName !== undefined && { apps: [{ name: appName, uri: appUri }] }),
    },
  }
  return renderOutput('yaml', document, String)
}
