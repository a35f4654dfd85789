import { notProtocol } from './http-fault.ts'

const MAX_LENGTH = 4096

/**
 * Where messages go, as the `endpoint` event says, relative to the URL of the stream. Another origin, or credentials in it, would have us
 * send to somebody else what is meant for this server, rewritten headers included.
 *
 * @throws AppError unavailable (origin upstream)
 */
export function readEndpoint(server: string, stream: URL, text: string): URL {
  const url = text.length <= MAX_LENGTH ? URL.parse(text, stream) : null
  if (!url) throw notProtocol(server, 'the endpoint it names is no URL')
  if (url.origin !== stream.origin) throw notProtocol(server, `the endpoint it names has another origin (${url.origin.slice(0, 200)})`)
  if (url.username !== '' || url.password !== '') throw notProtocol(server, 'the endpoint it names contains credentials')
  return url
}
