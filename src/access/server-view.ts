import { type App, isDatabase, labelsOf } from '../resources/app.ts'
import type { ServerView } from './conditions.ts'

/** A registered server as roles see it. */
export function serverViewOf(app: App): ServerView {
  return { name: app.metadata.name, labels: labelsOf(app), ...(isDatabase(app) && { kind: 'db' }) }
}
