import { findMcpSession, keepMcpSession, takeMcpSession } from '../api/mcp-sessions.ts'
import type { ApiClient } from './call.ts'

/** What is kept under the name, and how often that was written. */
export async function findSession(api: ApiClient, name: string): Promise<{ body: string; revision: number } | undefined> {
  return (await api(findMcpSession, { name })).found ?? undefined
}

/** Keeps it up until `expiresAt` (ms since 1970) in place of this revision, 0 for nothing; false when another was faster. */
export async function keepSession(
  api: ApiClient,
  { expiresAt, ...kept }: { name: string; owner: string; body: string; revision: number; expiresAt: number },
): Promise<boolean> {
  return (await api(keepMcpSession, { ...kept, expires: new Date(expiresAt).toISOString() })).kept
}

/** Takes it out: of several who do, one has it. */
export async function takeSession(api: ApiClient, name: string): Promise<string | undefined> {
  return (await api(takeMcpSession, { name })).body ?? undefined
}
