import type { Migration } from './migration.ts'

/** Each index had to be kept for every call; a search by these looks at the events in slices instead. */
export const eventIndexes: Migration = {
  version: 3,
  name: 'event-indexes',
  statements: [`drop index events_type`, `drop index events_server`, `drop index events_tool`, `drop index events_outcome`],
}
