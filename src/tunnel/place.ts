import { createHash } from 'node:crypto'

const PLACE = /^at-[0-9a-f]{32}$/

/**
 * The word of a proxy's hello by which an agent knows which of several proxies it has reached, as behind a load balancer. It proves nothing: that
 * it is a proxy of the cluster says the certificate.
 */
export function placeOf(proxyId: string): string {
  return `at-${createHash('sha256').update(`sallyport-proxy\0${proxyId}`).digest('hex').slice(0, 32)}`
}

/** Undefined when the other end does not say where it is. */
export function findPlace(features: readonly string[]): string | undefined {
  return features.find((word) => PLACE.test(word))
}
