import { request } from 'node:https'
import { z } from 'zod'
import { AppError } from '../../lib/errors.ts'
import { readTextIfPresent } from '../../lib/atomic-file.ts'
import { readBounded } from '../../lib/read-bounded.ts'
import type { Destination, KubernetesSecretConfig } from './destination.ts'

/** The API server as a pod sees it. */
export interface KubernetesApi {
  host: string
  port: number
  /** Directory of the service account: `token`, `ca.crt`, `namespace`. */
  accountDirectory: string
}

const TIMEOUT_MS = 15_000
const MAX_ANSWER_BYTES = 4 * 1024 * 1024
const secretSchema = z.object({ data: z.record(z.string(), z.base64()).optional() })

/**
 * The files as keys of one secret, which changes in one step by a server-side apply. Only our keys are touched. The service account
 * needs `get` and `patch` (and `create`) on it.
 */
export function createKubernetesSecret({ name, namespace }: KubernetesSecretConfig, api: KubernetesApi | undefined): Destination {
  const label = `kubernetes_secret ${namespace === undefined ? '' : `${namespace}/`}${name}`

  async function call(
    method: 'GET' | 'PATCH',
    body?: { type: string; data: Record<string, string> },
  ): Promise<{ status: number; text: string }> {
    if (!api) throw new AppError('failed_precondition', `${label} can only be written from a pod: KUBERNETES_SERVICE_HOST is not set`)
    // Kubernetes renews the token of a pod: it is read each time.
    const [token, ca, own] = await Promise.all(
      ['token', 'ca.crt', 'namespace'].map((file) => readTextIfPresent(`${api.accountDirectory}/${file}`)),
    )
    const where = namespace ?? own?.trim()
    if (token === undefined || ca === undefined || !where)
      throw new AppError('failed_precondition', `${label}: the pod has no service account at ${api.accountDirectory}`)
    const query = method === 'PATCH' ? '?fieldManager=sallyport-tbot&force=true' : ''
    const path = `/api/v1/namespaces/${encodeURIComponent(where)}/secrets/${encodeURIComponent(name)}${query}`
    const document = body === undefined ? undefined : { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: where }, ...body }
    return await send(api, { method, path, token: token.trim(), ca, body: document && JSON.stringify(document) })
  }

  return {
    name: label,
    check: async () => void (await get()),
    read: async (file) => {
      const encoded = (await get())[file]
      return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString()
    },
    write: async (files) => {
      const data = Object.fromEntries([...files].map(([file, content]) => [file, Buffer.from(content).toString('base64')]))
      const { status, text } = await call('PATCH', { type: 'Opaque', data })
      if (status >= 300) throw refusal(label, status, text)
    },
  }

  async function get(): Promise<Record<string, string>> {
    const { status, text } = await call('GET')
    if (status === 404) return {}
    if (status >= 300) throw refusal(label, status, text)
    try {
      return secretSchema.parse(JSON.parse(text)).data ?? {}
    } catch (cause) {
      throw new AppError('unavailable', `${label}: the answer is not from a Kubernetes API server`, { cause })
    }
  }
}

interface Call {
  method: string
  path: string
  token: string
  ca: string
  body: string | undefined
}

function send({ host, port }: KubernetesApi, { method, path, token, ca, body }: Call): Promise<{ status: number; text: string }> {
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'application/json',
    ...(body === undefined ? {} : { 'content-type': 'application/apply-patch+yaml', 'content-length': String(Buffer.byteLength(body)) }),
  }
  return new Promise((fulfil, reject) => {
    const call = request({
      host,
      port,
      method,
      path,
      headers,
      ca,
      minVersion: 'TLSv1.2',
      agent: false,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    call.on('response', (answer) => {
      readBounded(answer, MAX_ANSWER_BYTES, () => new AppError('resource_exhausted', 'the answer of the Kubernetes API is too large')).then(
        (bytes) => fulfil({ status: answer.statusCode ?? 0, text: bytes.toString() }),
        reject,
      )
    })
    call.on('error', (cause) => reject(new AppError('unavailable', `the Kubernetes API at ${host}:${port} cannot be reached`, { cause })))
    call.end(body)
  })
}

const statusSchema = z.object({ message: z.string() })

function refusal(label: string, status: number, text: string): AppError {
  let said = ''
  try {
    said = statusSchema.safeParse(JSON.parse(text)).data?.message.slice(0, 256) ?? ''
  } catch {
    // Not from Kubernetes: the status has to do.
  }
  const hint = status === 403 ? ': let the service account get, create and patch this secret' : ''
  const code = status === 401 || status === 403 ? 'failed_precondition' : 'unavailable'
  return new AppError(code, `${label}: HTTP ${status}${said === '' ? '' : ` (${said})`}${hint}`)
}
