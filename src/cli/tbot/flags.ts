import { resolve } from 'node:path'
import type { Invocation } from '../../lib/command-rows.ts'
import { AppError } from '../../lib/errors.ts'
import type { Overrides } from '../../services/bot/config.ts'

/** What the flags that every command shares say, in the words of the configuration file. */
export function readShared(call: Invocation): Overrides {
  const fromUri = readJoinUri(call.text('join-uri'))
  const secret = call.text('registration-secret')
  const pins = call.list('ca-pin')
  const caPath = call.text('ca-path')
  const storage = call.text('storage')
  const oneshot = call.flag('oneshot')
  const insecure = call.flag('insecure')
  return {
    top: present({
      proxy_server: call.text('proxy-server') ?? call.text('auth-server') ?? fromUri.proxy,
      storage: storage === undefined ? undefined : readStorage(storage),
      credential_ttl: call.text('credential-ttl') ?? call.text('certificate-ttl'),
      renewal_interval: call.text('renewal-interval'),
      oneshot: oneshot || undefined,
      diag_addr: call.text('diag-addr'),
      insecure: insecure || undefined,
    }),
    onboarding: present({
      token: call.text('token') ?? fromUri.token,
      join_method: call.text('join-method') ?? fromUri.method,
      ca_pins: pins.length > 0 ? pins : undefined,
      ca_path: caPath === undefined ? undefined : resolve(caPath),
      bound_keypair: secret === undefined ? undefined : { registration_secret: secret },
    }),
  }
}

/** The whole configuration that `tbot start identity` and `tbot configure identity` stand for. */
export function readIdentity(call: Invocation): Record<string, unknown> {
  const { top, onboarding } = readShared(call)
  const roles = call.list('roles')
  const service = present({
    type: 'identity',
    allow_reissue: call.flag('allow-reissue') || undefined,
    roles: roles.length > 0 ? roles : undefined,
    destination: readDestination(call),
  })
  return { version: 'v2', ...top, onboarding, services: [service] }
}

function readDestination(call: Invocation): Record<string, unknown> {
  const place = call.text('destination') ?? ''
  const [, namespace, name] = place.match(/^kubernetes-secret:\/\/(?:([^/]+)\/)?([^/]+)$/) ?? []
  if (name !== undefined) return present({ type: 'kubernetes_secret', name, namespace })
  const readers = [...call.list('reader-user').map((user) => ({ user })), ...call.list('reader-group').map((group) => ({ group }))]
  return present({ ...readStorage(place), readers: readers.length > 0 ? readers : undefined })
}

function readStorage(place: string): Record<string, unknown> {
  if (place === 'memory://' || place === 'memory') return { type: 'memory' }
  const path = place.replace(/^file:\/\//, '')
  if (/^[a-z][a-z0-9+.-]*:\/\//.test(path))
    throw new AppError('invalid_argument', `"${place}" is no directory: write /PATH, file:///PATH or memory://`)
  return { type: 'directory', path: resolve(path) }
}

function readJoinUri(text: string | undefined): { proxy?: string; token?: string; method?: string } {
  if (text === undefined) return {}
  const [, method, token, proxy] = text.match(/^tbot\+(?:proxy|auth)\+([a-z-]+):\/\/([^@/]+)@([^@/?#]+)\/?$/) ?? []
  if (method === undefined || token === undefined || proxy === undefined)
    throw new AppError('invalid_argument', '--join-uri is written like tbot+proxy+token://TOKEN@HOST:PORT')
  return { method: method.replaceAll('-', '_'), token: decodeURIComponent(token), proxy }
}

function present(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
