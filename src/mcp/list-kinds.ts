export type ListKind = 'tools' | 'prompts' | 'resources'

/** The lists that MCP has a word for when they change. */
export const LIST_KINDS: readonly ListKind[] = ['tools', 'prompts', 'resources']

const CHANGED = /^notifications\/(tools|prompts|resources)\/list_changed$/

/** The list that a notification says has changed. */
export function findChanged(method: string): ListKind | undefined {
  const name = CHANGED.exec(method)?.[1]
  return LIST_KINDS.find((kind) => kind === name)
}
