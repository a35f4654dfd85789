import { createHash } from 'node:crypto'

const TAG_CHARACTERS = 10
const TILDE = 0x7e

/** What the ids of an agent's MCP sessions end in, so that a proxy knows which agent has a session without keeping any: it is no secret. */
export function tagOf(hostId: string): string {
  return createHash('sha256').update(`sallyport-session-tag\0${hostId}`).digest('base64url').slice(0, TAG_CHARACTERS)
}

export function withTag(id: string, tag: string): string {
  return `${id}~${tag}`
}

/** The tag that an id ends in; nobody says that the agent of that tag has made it. */
export function findTag(id: string): string | undefined {
  return id.charCodeAt(id.length - TAG_CHARACTERS - 1) === TILDE ? id.slice(-TAG_CHARACTERS) : undefined
}
