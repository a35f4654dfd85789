import { request } from 'node:http'
import type { McpEndpoint } from '../../client/mcp-endpoint.ts'
import { AppError } from '../../lib/errors.ts'
import type { ListenAddress } from './service.ts'

const CONNECT_TIMEOUT_MS = 10_000

/** An MCP endpoint, by its path, behind a running tbot on this machine; `token` for who listens on a port. */
export function createLocalEndpoint(path: string, address: ListenAddress, token: string | undefined): McpEndpoint {
  const where = 'path' in address ? address.path : `${address.host}:${address.port}`
  const target = 'path' in address ? { socketPath: address.path } : { host: address.host, port: address.port }
  return {
    send: ({ method, headers, body, signal, onSent }) =>
      new Promise((fulfil, reject) => {
        const call = request({
          ...target,
          method,
          path,
          headers: {
            host: 'localhost',
            ...headers,
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
            ...(body === undefined ? {} : { 'content-length': String(body.byteLength) }),
          },
          agent: false,
          signal,
        })
        const timer = setTimeout(() => call.destroy(new Error('not connected in time')), CONNECT_TIMEOUT_MS)
        call.on('finish', () => {
          clearTimeout(timer)
          onSent?.()
        })
        call.on('close', () => clearTimeout(timer))
        call.on('response', fulfil)
        call.on('error', (cause) =>
          reject(
            signal.aborted
              ? new AppError('cancelled', 'the request was cancelled', { cause })
              : new AppError('unavailable', `no tbot answers at ${where}: start it with tbot start -c FILE`, {
                  cause,
                  details: { network: true },
                }),
          ),
        )
        call.end(body)
      }),
    close: () => {},
  }
}
