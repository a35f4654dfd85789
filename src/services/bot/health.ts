import type { Metrics } from '../../lib/metrics.ts'

export interface Health {
  status: 'initializing' | 'healthy' | 'unhealthy'
  reason?: string
  /** Milliseconds since 1970: the end of what was issued last. */
  expiresAt?: number
}

/** How the bot itself (`self`) and each of its services are. */
export class HealthBoard {
  readonly #services: Map<string, Health>
  readonly #count: ((service: string, result: string) => { value: number }) | undefined

  constructor(names: readonly string[], metrics?: Metrics) {
    this.#services = new Map(names.map((name) => [name, { status: 'initializing' }]))
    this.#count = metrics?.counter({ name: 'tbot_renewals_total', help: 'Renewals by how they ended.', labels: ['service', 'result'] })
    metrics?.gauge({ name: 'tbot_ready', help: '1 while the last renewal went well.', labels: ['service'] }, () =>
      this.list().map(([name, { status }]) => [[name], status === 'healthy' ? 1 : 0] as const),
    )
    metrics?.gauge(
      { name: 'tbot_credential_expiry_seconds', help: 'When the credential ends, in seconds since 1970.', labels: ['service'] },
      () =>
        this.list().flatMap(([name, { expiresAt }]) => (expiresAt === undefined ? [] : [[[name], Math.floor(expiresAt / 1000)] as const])),
    )
  }

  succeeded(name: string, expiresAt: number): void {
    this.#services.set(name, { status: 'healthy', expiresAt })
    this.#add(name, 'success')
  }

  failed(name: string, reason: string): void {
    this.#services.set(name, { ...this.#services.get(name), status: 'unhealthy', reason })
    this.#add(name, 'failure')
  }

  find(name: string): Health | undefined {
    return this.#services.get(name)
  }

  list(): [string, Health][] {
    return [...this.#services]
  }

  isReady(): boolean {
    return this.list().every(([, { status }]) => status === 'healthy')
  }

  #add(name: string, result: string): void {
    const count = this.#count?.(name, result)
    if (count) count.value++
  }
}
