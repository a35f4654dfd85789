import { X509Certificate } from 'node:crypto'
import type { OutputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { jwksOf } from '../../../ca/assertion.ts'
import { pinOf } from '../../../ca/authority.ts'
import { secondFactorsOf, secondFactorWord } from '../../../resources/second-factors.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { findRelyingParty } from '../mfa/relying-party.ts'
import { allowsPasswords, findDefaultConnector, isPasswordlessFirst, listConnectors, offerOf, PASSWORDLESS } from '../sso/connectors.ts'

export async function ping(context: AuthContext): Promise<OutputOf<typeof ROUTES.ping>> {
  const { spec } = authPreference(context)
  const { otp, webauthn, sso, passwordless } = secondFactorsOf(spec)
  const party = webauthn ? findRelyingParty(context, undefined) : undefined
  const { certificatePem } = context.keys.host
  const preferred = findDefaultConnector(context)
  return {
    server_version: context.version,
    min_client_version: context.version,
    cluster_name: context.clusterName,
    auth: {
      type: spec.type,
      second_factor: secondFactorWord(spec),
      second_factors: [...(otp ? ['otp'] : []), ...(webauthn ? ['webauthn'] : []), ...(sso ? ['sso'] : [])],
      allow_passwordless: passwordless && party !== undefined && allowsPasswords(context),
      ...(party && { webauthn: { rp_id: party.id } }),
      allow_local_auth: allowsPasswords(context),
      ...((preferred || isPasswordlessFirst(context)) && { default_connector: preferred?.metadata.name ?? PASSWORDLESS }),
      connectors: listConnectors(context).map(offerOf),
    },
    host_authorities: [certificatePem],
    ca_pins: [pinOf(certificatePem)],
  }
}

export async function getStatus(context: AuthContext): Promise<OutputOf<typeof ROUTES.getStatus>> {
  const { user, host, db, dbClient, spiffe } = context.keys
  return {
    cluster_name: context.clusterName,
    version: context.version,
    proxy_address: context.publicAddress(),
    authorities: [user, host, db, dbClient, spiffe].map(({ type, certificatePem }) => ({
      type,
      certificate: certificatePem,
      pin: pinOf(certificatePem),
      not_after: new X509Certificate(certificatePem).validToDate.toISOString(),
    })),
    ca_pins: [pinOf(host.certificatePem)],
  }
}

export async function getJwks(context: AuthContext): Promise<OutputOf<typeof ROUTES.getJwks>> {
  return { keys: jwksOf([context.keys.assertion, ...context.keys.jwt.published]).keys.map((key) => ({ ...key })) }
}
