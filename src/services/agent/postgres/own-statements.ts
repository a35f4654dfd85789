import { AppError } from '../../../lib/errors.ts'
import type { FrameSocket } from './frame-socket.ts'
import { cString, frame } from './frames.ts'
import { readServerError } from './server-error.ts'

/** Who may read or write files of the server or start programs there, by themselves or by `SET ROLE`. */
const POWERFUL =
  "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE (r.rolsuper OR r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', " +
  "'pg_write_server_files')) AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER') ORDER BY r.rolsuper DESC LIMIT 1"

/**
 * A statement of ours; the first value of its first row. Where it fails nobody knows in what state the session is: it is ended.
 * @throws AppError failed_precondition (origin upstream) with the database's own words, unavailable.
 */
export async function runOwn(frames: FrameSocket, sql: string): Promise<string | undefined> {
  frames.write(frame('Q', cString(sql)))
  let failure: AppError | undefined
  let first: string | undefined
  for (;;) {
    const { type, body } = await frames.next()
    if (type === 'E') failure ??= readServerError(body)
    if (type === 'D' && body && body.length > 6) first ??= body.toString('utf8', 6, 6 + Math.max(0, body.readInt32BE(2)))
    if (type !== 'Z') continue
    if (!failure) return first
    frames.destroy(failure)
    throw failure
  }
}

/**
 * Sees to it that the user of a session cannot reach beyond its transactions.
 * @throws AppError permission_denied, and as `runOwn`.
 */
export async function checkPower(frames: FrameSocket, user: string): Promise<void> {
  // A user's own search path could put other operators before those that this is made of.
  await runOwn(frames, 'SET search_path = pg_catalog')
  const power = await runOwn(frames, POWERFUL)
  await runOwn(frames, 'DISCARD ALL')
  if (power === undefined) return
  throw new AppError(
    'permission_denied',
    `read-only mode cannot hold "${user}", which is a superuser or may use files of the database server (role ${power}): use another database user`,
  )
}
