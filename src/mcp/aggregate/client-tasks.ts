const MAX_TASKS = 1000
/** Characters of an id that is kept. */
const MAX_ID = 1024

/** Tasks that a client runs for members, by the client's own ids. */
export class ClientTasks {
  readonly #servers = new Map<string, string>()

  begin(id: string, server: string): void {
    if (id.length > MAX_ID) return
    this.#servers.set(id, server)
    const [oldest] = this.#servers.keys()
    if (this.#servers.size > MAX_TASKS && oldest !== undefined) this.#servers.delete(oldest)
  }

  /** The member that a task is for. */
  find(id: unknown): string | undefined {
    return typeof id === 'string' ? this.#servers.get(id) : undefined
  }
}
